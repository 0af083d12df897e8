"""Every parser on inputs that nobody would write: refused in one line, or read and read again."""

import json
import logging
import random
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any
from unittest import mock

import hypothesis
from hypothesis import strategies

from nas import genotype as genotypes
from nas.errors import ConfigError
from nas.genotype import Genotype
from nas.printable import shown
from torture.room import Case, Outcome, Plant
from torture.rooms.coverage import Lines
from torture.rooms.mutators import ODD, changed, restructured, shrunk
from torture.rooms.parsers import Parser, parsers

# Seconds that one input may take, and beyond which it is told.
PATIENCE = 10.0
SLOW = f"above {PATIENCE:.0f} s"
# Cases of each parser and way; all of them are some ten million inputs.
CASES = 16
# Kinds of failure that are kept of one case.
KEPT = 5
# What an input costs that is found by following lines, and what one that hypothesis writes, in plain ones.
FOLLOWED, WRITTEN = 5, 10


class TooSlow(BaseException):
    """An input took longer than any may; no parser may catch it."""


class Fuzz:
    """The room."""

    name = "fuzz"
    about = "every parser on mutated, generated and coverage-guided inputs"
    holds = "no foreign exception, no warning, 10 s at most, refused in one line, the same when read again"

    def __init__(self, folder: Path):
        self.folder = folder
        self._made: dict[str, Parser] = {}

    @property
    def plants(self) -> Mapping[str, Plant]:
        """What breaks a parser, and what breaks a round trip."""
        return PLANTS

    def cases(self, seed: int) -> Iterator[Case]:
        """Each parser in each way, again and again with other inputs."""
        for number in range(CASES):
            for name, parser in self.parsers().items():
                for way in ("bytes", *(["plain"] if parser.plain else []), "followed", "written"):
                    cost = {"followed": FOLLOWED, "written": WRITTEN}.get(way, 1)
                    options = {
                        "parser": name,
                        "way": way,
                        "seed": f"{seed}.{number}",
                        "inputs": parser.batch // cost,
                    }
                    yield Case(f"{name}.{way}.{number:03d}", options)

    def parsers(self) -> Mapping[str, Parser]:
        """The parsers by name, made once."""
        if not self._made:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._made = parsers(self.folder)
        return self._made

    def run(self, case: Case, folder: Path) -> Outcome:
        """Feeds a parser with one batch."""
        options = case.options
        parser = self.parsers()[options["parser"]]
        trial = Trial(parser, folder)
        rng = random.Random(f"{options['parser']} {options['way']} {options['seed']}")
        with silent():
            WAYS[options["way"]](trial, rng, options["inputs"])
            said = [
                self._said(folder, number, *one, trial) for number, one in enumerate(trial.failures.items())
            ]
        if not trial.failures:
            return Outcome("held", inputs=trial.tried)
        return Outcome("failed", " | ".join(said), trial.tried)

    def _said(self, folder: Path, number: int, kind: str, content: bytes, trial: "Trial") -> str:
        """A failure in words; its input is kept, as short as it can be."""
        # What takes too long would be waited for at each attempt.
        if kind != SLOW:
            content = shrunk(content, lambda one: trial.judged(one) == kind)
        (folder / f"input-{number}").write_bytes(content)
        return f"{kind} [{shown(content.decode('utf-8', 'replace'), 60)}]"


class Trial:
    """A parser that is fed.

    Attributes:
        tried: how many inputs there were.
        failures: kind of failure -> the first input that brought it about.
    """

    def __init__(self, parser: Parser, folder: Path):
        self.parser, self.tried = parser, 0
        self.failures: dict[str, bytes] = {}
        self.place = folder / "files"
        self.place.mkdir()

    def feed(self, content: bytes) -> str | None:
        """Tries an input; says what failed."""
        self.tried += 1
        kind = self.judged(content)
        if kind is not None and len(self.failures) < KEPT:
            self.failures.setdefault(kind, content)
        return kind

    def judged(self, content: bytes) -> str | None:
        """What fails of an input; None where it is refused as it should be, or read."""
        try:
            with limited(PATIENCE), warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                found = self.parser.read(content, self.place)
                try:
                    self.parser.again(found)
                except ConfigError:
                    return "read, but what is written of it is refused"
        except ConfigError as error:
            said = str(error)
            return None if said and "\n" not in said else f"its refusal is no line: {shown(said)}"
        except TooSlow:
            return SLOW
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            told = str(error) if type(error).__name__ == "Failed" else ""
            where = f"{Path(place.filename).name}, {place.name}"
            return f"{type(error).__name__} in {where}{told and ': ' + shown(told)}"
        return f"warns: {shown(str(warned[0].message))}" if warned else None


@contextmanager
def silent() -> Iterator[None]:
    """Without the warnings of a reader, of which there would be a million."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Ends the block after so many seconds.

    Raises:
        TooSlow: it took longer.
    """

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def by_bytes(trial: Trial, rng: random.Random, inputs: int) -> None:
    """Valid inputs with other bytes, and those that came of them."""
    seeds, words = list(trial.parser.seeds), trial.parser.words
    for seed in seeds:
        trial.feed(seed)
    while trial.tried < inputs:
        content = changed(rng, rng.choice(seeds), seeds, words)
        trial.feed(content)
        # Some go on to be changed, so that changes add up.
        if rng.random() < 0.02:
            seeds.append(content)
            if len(seeds) > 300:
                seeds.pop(len(trial.parser.seeds))


def by_structure(trial: Trial, rng: random.Random, inputs: int) -> None:
    """Valid containers with other keys, values and nesting."""
    given = [json.loads(seed) for seed in trial.parser.seeds if seed[:1] in b'{["0123456789-tn']
    while trial.tried < inputs:
        data = restructured(rng, rng.choice(given))
        try:
            trial.feed(json.dumps(data, indent=rng.choice((None, 1))).encode())
        except RecursionError:
            continue  # too deep to be written here


def by_lines(trial: Trial, rng: random.Random, inputs: int) -> None:
    """Changed bytes, of which those that reach lines that none has reached before are changed further."""
    pool, lines = [], Lines()
    for seed in trial.parser.seeds:
        with lines:
            trial.feed(seed)
        pool.append(seed)
    while trial.tried < inputs:
        # The latest lead furthest.
        parent = (
            pool[-1 - min(int(rng.expovariate(0.15)), len(pool) - 1)]
            if rng.random() < 0.5
            else rng.choice(pool)
        )
        content = changed(rng, parent, pool, trial.parser.words, most=2)
        before = len(lines)
        with lines:
            trial.feed(content)
        if len(lines) > before:
            pool.append(content)


def by_hypothesis(trial: Trial, rng: random.Random, inputs: int) -> None:
    """What hypothesis puts together from the words of the form, with its shrinking."""

    @hypothesis.seed(rng.getrandbits(32))
    @hypothesis.settings(
        max_examples=inputs, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink], print_blob=False,
    )  # fmt: skip
    @hypothesis.given(written(trial.parser))
    def test(content: bytes) -> None:
        kind = trial.feed(content)
        if kind is not None:
            trial.failures[kind] = min(content, trial.failures.get(kind, content), key=len)
            raise AssertionError(kind)

    try:
        test()
    except (AssertionError, ExceptionGroup):
        if not trial.failures:
            raise


def written(parser: Parser) -> strategies.SearchStrategy[bytes]:
    """Inputs as hypothesis makes them: words in a row, parts of valid ones among them, or containers."""
    parts = strategies.one_of(
        strategies.sampled_from(list(parser.words)),
        strategies.binary(max_size=3),
        strategies.builds(
            lambda seed, start, length: seed[start : start + length],
            strategies.sampled_from(list(parser.seeds)),
            strategies.integers(0, 400),
            strategies.integers(1, 80),
        ),
        strategies.text(max_size=6).map(lambda text: text.encode("utf-8", "surrogatepass")),
        strategies.floats().map(lambda number: repr(number).encode()),
        strategies.integers().map(lambda number: str(number).encode()),
    )
    rows = strategies.lists(parts, max_size=20).map(b"".join)
    if not parser.plain:
        return rows
    keys = sorted({key for seed in parser.seeds for key in _keys(json.loads(seed))})
    values = strategies.recursive(
        strategies.sampled_from([one for one in ODD if not isinstance(one, list | dict)])
        | strategies.text(max_size=5),
        lambda inner: (
            strategies.lists(inner, max_size=4)
            | strategies.dictionaries(strategies.sampled_from(keys or ["a"]), inner, max_size=6)
        ),
        max_leaves=12,
    )
    return rows | values.map(lambda value: json.dumps(value).encode())


def _keys(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield key
            yield from _keys(value)
    elif isinstance(data, list):
        for value in data:
            yield from _keys(value)


WAYS: Mapping[str, Callable[[Trial, random.Random, int], None]] = MappingProxyType(
    {"bytes": by_bytes, "plain": by_structure, "followed": by_lines, "written": by_hypothesis}
)


@contextmanager
def _parsed(parse: Callable[[Callable[[], Any], str], Any]) -> Iterator[None]:
    """Has JSON of a genotype parsed otherwise; `parse` is given the usual way and the text."""
    usual = genotypes.parse_json
    with mock.patch.object(
        genotypes, "parse_json", lambda text, where: parse(lambda: usual(text, where), text)
    ):
        yield


def _too_deep(usual: Callable[[], Any], text: str) -> Any:
    try:
        return usual()
    except ConfigError as error:
        if "nested too deeply" in str(error):
            raise RecursionError from error
        raise


def _in_lines(usual: Callable[[], Any], text: str) -> Any:
    try:
        return usual()
    except ConfigError as error:
        raise ConfigError(f"{error}\n{text}") from error


def _warning(usual: Callable[[], Any], text: str) -> Any:
    warnings.warn("a text", stacklevel=1)
    return usual()


@contextmanager
def _slow_once() -> Iterator[None]:
    waited: list[str] = []

    def parse(usual: Callable[[], Any], text: str) -> Any:
        if not waited:
            waited.append(text)
            time.sleep(2 * PATIENCE)
        return usual()

    with _parsed(parse):
        yield


def _loses_output() -> AbstractContextManager[Any]:
    whole = Genotype.to_dict

    def to_dict(self: Genotype) -> dict:
        found = whole(self)
        for cell in found["cells"].values():
            cell["output"] = cell["output"][:-1] or cell["output"]
        return found

    return mock.patch.object(Genotype, "to_dict", to_dict)


PLANTS: Mapping[str, Plant] = MappingProxyType(
    {
        "recursion": Plant(
            "too deep JSON is not caught", "RecursionError", lambda: _parsed(_too_deep),
            ("genotype-json.bytes.000",),
        ),
        "order": Plant(
            "the text of a genotype loses its last output", "is read as another", _loses_output,
            ("genotype.bytes.000",),
        ),
        "lines": Plant(
            "what is refused is repeated in the refusal", "its refusal is no line",
            lambda: _parsed(_in_lines), ("genotype-json.bytes.000",),
        ),
        "warning": Plant(
            "what reads a genotype warns", "warns: a text", lambda: _parsed(_warning),
            ("genotype-json.plain.000",),
        ),
        "slow": Plant(
            "an input is read for 20 s", SLOW, _slow_once, ("genotype-json.plain.000",)
        ),
    }
)  # fmt: skip


def room(folder: Path) -> Fuzz:
    """The room; its folder holds files that inputs name."""
    return Fuzz(folder)
