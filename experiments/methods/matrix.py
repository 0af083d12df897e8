"""Which method searches which space, and why others do not: what the parts say, without data or a run.

    python -m experiments.methods.matrix           prints the table
    python -m experiments.methods.matrix --keep    puts it into docs/methods.md

A method and a space run together where nothing is refused that `nas.search` looks at before it trains. Both
are composed with `debug=fast`, from every file of conf/method and of conf/space.
"""

import copy
import re
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from experiments.records import between
from nas.domains.choose import choose
from nas.domains.networks import source_of, space_of
from nas.engine.learning import check_epochs, check_selection
from nas.engine.shortened import shorten_search
from nas.engine.stages import StageBuilder, attach
from nas.engine.step import Step
from nas.errors import ConfigError
from nas.files import write_text
from nas.measure.steps import numerics
from nas.methods.layout import layout_of
from nas.methods.method import Method
from nas.running.config import CONF, instantiate, plain, register_resolvers
from nas.running.parts import compose, spell_out

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"
BEGIN, END = "<!-- matrix: python -m experiments.methods.matrix --keep -->", "<!-- end of matrix -->"
LIST = "<!-- list of methods, by the same command -->", "<!-- end of list -->"
RUNS, DRAWS = "runs", "draws"
DATASETS = {"images": "digits", "text": "wikitext_mini"}


def names(group: str) -> list[str]:
    """The choices of a group of conf/, in alphabetical order."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@contextmanager
def configurations(*overrides: str) -> Iterator["Configurations"]:
    """Composes searches in a block, with overrides of everything but method and space."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        yield Configurations(overrides)
    GlobalHydra.instance().clear()


class Configurations:
    """Searches as `nas.search` composes them; each space and each method is composed once.

    Args:
        overrides: of every search.
    """

    def __init__(self, overrides: Sequence[str] = ()):
        self._overrides = list(overrides)
        self._spaces: dict[str, DictConfig] = {}
        self._methods: dict[str, DictConfig] = {}

    def of(self, method: str, space: str) -> DictConfig:
        """A method in a space, on the data set that comes with the project."""
        if space not in self._spaces:
            choice = [f"space={space}", f"dataset={dataset_of(space)}"]
            self._spaces[space] = compose("search", [*choice, *self._overrides])
        if method not in self._methods:
            self._methods[method] = hydra.compose(f"method/{method}").method
        config = copy.deepcopy(self._spaces[space])
        config.method = copy.deepcopy(self._methods[method])
        spell_out(config)
        shorten_search(config)
        return config


def dataset_of(space: str) -> str:
    """The data set that comes with the project, of the domain of a space."""
    words = hydra.compose(f"space/{space}").space
    return DATASETS[hydra.utils.get_class(words._target_).domain]


@dataclass(frozen=True)
class Search:
    """A search up to where it would read its data; see `build`."""

    config: DictConfig
    space: Any
    method: Method
    inputs: Any
    task: Any
    stages: StageBuilder

    def batch(self, size: int, seed: int) -> Any:
        """A made-up batch."""
        where = numerics(plain(self.config.hardware))
        source = source_of(self.config)
        return choose(self.space, source).batch(self.config, source, where, size, seed)


def build(config: DictConfig) -> Search:
    """What `nas.search` puts together before it trains.

    Raises:
        ConfigError: the method and the space, or the settings, do not go together.
    """
    space, source = space_of(config), source_of(config)
    domain = choose(space, source)
    inputs, task = domain.inputs(source), domain.task(space, None, None, source)
    shapes = {name: group.shape for name, group in space.groups.items()}
    method = instantiate(config.method, shapes=shapes, layout=layout_of(space.groups))
    method.epochs = config.trainer.max_epochs
    check_epochs(plain(config), method)
    attach(method, space, inputs)
    check_selection(plain(config), method)
    stages = StageBuilder(space, method, inputs, 0, lambda network: network, task)
    stages.check()
    method.check_settings(False, 0)
    return Search(config, space, method, inputs, task, stages)


def verdict(config: DictConfig) -> str:
    """`runs`, `draws` (of a method that trains nothing), or why it is refused, in a few words."""
    try:
        built = build(config)
        if not built.method.trains:
            return DRAWS
        built.stages.check_schedule()
        with torch.device("meta"):
            Step(built.stages.supernet(0), built.method, built.task)
    except ConfigError as error:
        return brief(str(error))
    return RUNS


def brief(message: str) -> str:
    """Why, of a message that also says where, and what to do about it."""
    words = message.split(";")[0].split(": ", 1)[-1].replace("among which", "among which it,")
    return re.sub(r"it, an? (\w+) cannot choose", "its relaxation cannot choose", words)


def verdicts(
    methods: Sequence[str] | None = None, spaces: Sequence[str] | None = None
) -> dict[str, dict[str, str]]:
    """{method: {space: verdict}}; None for all that there are."""
    with configurations("debug=fast") as configs:
        return {
            method: {space: verdict(configs.of(method, space)) for space in spaces or names("space")}
            for method in methods or names("method")
        }


def table(matrix: Mapping[str, Mapping[str, str]]) -> str:
    """Verdicts as Markdown: a row per method, a column per space, reasons by letter below."""
    spaces = list(next(iter(matrix.values())))
    reasons: dict[str, str] = {}
    rows = [["method", *(f"`{space}`" for space in spaces)], ["---"] * (len(spaces) + 1)]
    for method, row in matrix.items():
        cells = []
        for word in row.values():
            known = word in (RUNS, DRAWS)
            cells.append(word if known else reasons.setdefault(word, chr(ord("a") + len(reasons))))
        rows.append([f"`{method}`", *cells])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", *(f"- **{letter}**: {word}" for word, letter in reasons.items())])


def about() -> str:
    """The methods as Markdown: what the header of each file says first."""
    lines = ["| method | |", "| --- | --- |"]
    for name in names("method"):
        text = (CONF / "method" / f"{name}.yaml").read_text(encoding="utf-8").split("\n_target_", 1)[0]
        header = [line for line in text.split("\ndefaults", 1)[0].splitlines() if line.startswith("#")]
        words = re.split(r"(?<! al)\.(?=\s|$)", " ".join(line.lstrip("# ") for line in header))[0]
        lines.append(f"| [`{name}`](../conf/method/{name}.yaml) | {words} |")
    return "\n".join(lines)


def keep(words: str, begin: str = BEGIN, end: str = END) -> None:
    """Puts something between two markers of docs/methods.md."""
    before, _, behind = between(PAGE.read_text(encoding="utf-8"), begin, end)
    write_text(PAGE, f"{before}\n{words}\n{behind}")


def main(words: Sequence[str] | None = None) -> None:
    """Prints the table, and keeps it where that is asked for."""
    parser = ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="the table goes into docs/methods.md")
    arguments = parser.parse_args(words)
    text = table(verdicts())
    print(text)
    if arguments.keep:
        keep(text)
        keep(about(), *LIST)


if __name__ == "__main__":
    main()
