"""`nas`: the list of commands, one of them, and tab completion as a shell asks for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.__main__ import PATH, commands, main

ROOT = Path(__file__).resolve().parent.parent
CONF = sorted(path.stem for path in (ROOT / "conf").glob("*.yaml"))


@pytest.fixture
def typed(monkeypatch, capsys):
    """`typed("search", ...) -> (status, out, err)` of `nas search ...`."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["nas", *words])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        return status, *capsys.readouterr()

    return call


def test_alone_it_lists_every_command_with_a_line(typed):
    status, out, _ = typed()
    told = {line.split()[0]: line.split(None, 1)[1] for line in out.splitlines() if line.startswith("  ")}
    del told["eval"]
    assert status == 0 and sorted(told) == CONF and all(len(line.split()) > 3 for line in told.values())
    path = [one for one in PATH if one in CONF]
    assert list(commands()) == list(told) == [*path, *(one for one in CONF if one not in path)]
    assert typed("--help")[1] == out


def test_it_runs_a_command(typed):
    status, out, _ = typed("cost", "genotype=DARTS_V2", "dataset=cifar10")
    assert status == 0 and "3,349,342" in out
    status, _, err = typed("cost", "genotype=nowhere")
    assert status == 2 and "nowhere" in err


def test_an_unknown_command_is_one_line(typed):
    status, _, err = typed("serch", "dataset=digits")
    assert (status, err) == (2, "nas serch: no such command; the nearest is search, `nas` lists all\n")
    assert typed("--version")[1] == f"nas-framework {nas.__version__}\n"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("nas ", set(CONF)),
        ("nas se", {"search"}),
        ("nas search space=dso", {"space=dso", "space=dso_imagenet", "space=dso_small"}),
        ("nas search spa", {"space=", "space."}),
        ("nas search space=darts space.init_ch", {"space.init_channels="}),
        ("nas nothing spa", set()),
    ],
)
def test_completion_knows_commands_groups_options_and_keys(line, found, typed, monkeypatch):
    monkeypatch.setenv("COMP_LINE", line)
    status, out, _ = typed("-sc", "query=bash")
    assert (status, set(out.split())) == (0, found)


# A console script: the program's own path stands first among its words.
SCRIPT = """#!{python}
import sys
sys.path.insert(0, {root!r})
from nas.{module} import main
main()
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("program", ["nas search", "nas-search"])
def test_a_shell_completes(program, tmp_path):
    """The function for bash, as `eval` makes it, asked as bash asks it; the programs' folder has a blank."""
    place = tmp_path / "my own"
    place.mkdir()
    for name, module in (("nas", "__main__"), ("nas-search", "search")):
        (place / name).write_text(SCRIPT.format(python=sys.executable, root=str(ROOT), module=module))
        (place / name).chmod(0o755)
    typed = f"{program} method=drnas_p"
    script = (
        f'eval "$(nas -sc install=bash)"; complete -p {program.split()[0]} | grep -q hydra_bash && '
        f'COMP_LINE="{typed}" COMP_POINT={len(typed)} COMP_CWORD={len(typed.split()) - 1}; '
        'hydra_bash_completion; echo "${COMPREPLY[@]}"'
    )
    path = f"{place}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["method=drnas_progressive", "method=drnas_progressive_paper"], done.stderr
