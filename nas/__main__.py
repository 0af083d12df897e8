"""`nas`, or `python -m nas`: the commands, a line each; `nas search ...` is `nas-search ...`."""

import ast
import contextlib
import difflib
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import nas
from nas.running.declared import CONF, PACKAGE
from nas.running.extensions import installed
from nas.running.words import shown

# The way from data to a network in use; the others follow by the alphabet.
PATH = ("search", "derive", "evaluate", "export", "predict")
UNKNOWN = 2
# Of Hydra's function for bash: where the program lies whose words are completed.
PATH_IN_WORDS = "EXECUTABLE=($(command -v $helper))"
WHOLE_PATH = 'EXECUTABLE=("$(command -v ${helper%% *})")'


def main() -> None:
    """Lists the commands, or ends the process as the one that is named does."""
    words = sys.argv[1:]
    if words[:2] == ["-sc", "query=bash"]:
        return _complete(os.environ.get("COMP_LINE", ""))
    if words[:1] in (["-sc"], ["--shell-completion"]):
        # Hydra writes the words for the shell; which command asks for them is all the same.
        sys.argv[0] = "nas"
        return _install() if words[1:] == ["install=bash"] else _run("search", words)
    if not words or words[0] in ("-h", "--help", "help"):
        return _list()
    if words[0] in ("-V", "--version"):
        return print(f"nas-framework {nas.__version__}")
    name, known = words[0].removeprefix("nas-"), commands()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        sys.stderr.write(
            f"nas {shown(words[0])}: no such command; the nearest is {close[0]}, `nas` lists all\n"
        )
        sys.exit(UNKNOWN)
    # Messages and tab completion name the program that was typed, and commands that are printed its siblings.
    own = Path(sys.argv[0])
    sys.argv[0] = str(own.with_name(f"nas-{name}{own.suffix}")) if own.stem == "nas" else f"nas-{name}"
    return _run(name, words[1:])


def commands() -> Mapping[str, str]:
    """Every command by its name, with a line that says what it does."""
    names = sorted(path.stem for path in CONF.glob("*.yaml"))
    return {name: _line(name) for name in sorted(names, key=lambda one: (_place(one), one))}


def _place(name: str) -> int:
    return PATH.index(name) if name in PATH else len(PATH)


def _line(name: str) -> str:
    """What a command's module says of itself, which is read and not imported."""
    text = (PACKAGE / f"{name}.py").read_text(encoding="utf-8")
    told = ast.get_docstring(ast.parse(text)) or ""
    return told.partition("\n")[0].partition(": ")[2]


def _list() -> None:
    found = commands()
    width = max(map(len, found)) + 2
    print("nas <command> [key=value ...]    (nas-<command> and python -m nas.<command> are the same)\n")
    for name, line in found.items():
        print(f"  {name:<{width}}{line}")
    print("\nnas <command> --help: its choices; --cfg job: every key. Tab completion, here or in ~/.bashrc:")
    print('  eval "$(nas -sc install=bash)"')
    for one in installed():
        print(f"\nfrom {one.distribution}: {', '.join(one.options())}", end="")
    print("\n" if installed() else "", end="")


def _run(name: str, words: Sequence[str]) -> None:
    sys.argv[1:] = words
    importlib.import_module(f"nas.{name}").main()


def _install() -> None:
    """Prints Hydra's function for bash, made for every command, and for an environment in any folder.

    Hydra's own takes the words of the program's path apart, so that a blank in it ends all completion.
    """
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        _run("search", ["-sc", "install=bash"])
    text = said.getvalue().rstrip().replace(PATH_IN_WORDS, WHOLE_PATH)
    print(text, *(f"nas-{name}" for name in commands()))


def _complete(line: str) -> None:
    """What may stand at the end of a line that begins with `nas`."""
    _, _, typed = line.partition(" ")
    name, space, rest = typed.lstrip().partition(" ")
    if not space:
        print(" ".join(one for one in commands() if one.startswith(name)))
    elif name in commands():
        os.environ["COMP_LINE"] = f"nas-{name} {rest}"
        _run(name, ["-sc", "query=bash"])


if __name__ == "__main__":
    main()
