"""By what runs are judged: every metric is declared here, and read from here wherever one is named.

Its value on a part of the data is called `<part>_<metric>`, in tables as in `summary.json`. The task computes
it (`nas.engine.tasks`), unless it follows from the loss.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from nas.errors import require
from nas.printable import shown

# In the order of a sweep's table; `table` is a benchmark's, and "" what belongs to no part.
PARTS = ("test", "valid", "table", "architecture", "weight", "train", "supernet", "")
LOWER = "lower is better"


@dataclass(frozen=True)
class Metric:
    """A number that people read of a run.

    Attributes:
        name: its column is `<part>_<name>`.
        higher: whether higher is better; None where that depends.
        parts: what it is measured on, of `PARTS`.
        results: those of which it is a result: a column of a sweep's table.
        word: how the line of an epoch calls it, and the bar; empty for what has no place there.
        title: its name above its curves and at the end of a run; empty for the name itself.
        unit: that of what is shown; empty for none.
        factor: from what is kept to what is shown.
        decimals: of what is shown; None for four digits in a table, and four decimals at the end of a run.
        short: the format in the line of an epoch.
        least, most: the range of what is kept.
        of_loss: the metric as a function of the mean loss in nats; None for what is measured itself.
        partial: whether some data leave it without a value; its nan means that, and is nowhere written.
    """

    name: str
    higher: bool | None = None
    parts: tuple[str, ...] = ("train", "weight", "architecture", "valid", "test")
    results: tuple[str, ...] = ("architecture", "valid", "test")
    word: str = ""
    title: str = ""
    unit: str = ""
    factor: float = 1.0
    decimals: int | None = None
    short: str = ".3f"
    least: float = -math.inf
    most: float = math.inf
    of_loss: Callable[[float], float] | None = None
    partial: bool = False

    def column(self, part: str) -> str:
        """Its name in tables and summaries."""
        return f"{part}_{self.name}".lstrip("_")

    @property
    def axis(self) -> str:
        """What stands beside its name at an axis: the unit, or else that the better end is the lower one."""
        # Beside pictures of accuracies it would be mistaken.
        return self.unit or (LOWER if self.higher is False else "")

    def brief(self, value: float) -> str:
        """A value as an epoch's line has it: a lost network's, beyond 100,000, in powers of ten."""
        return self.text(value, self.short if abs(value * self.factor) < 1e5 else ".2g")

    def text(self, value: float, form: str | None = None) -> str:
        """A value as the line at the end of a run has it, or in another format."""
        form = form or f".{4 if self.decimals is None else self.decimals}f"
        return f"{value * self.factor:{form}}{'%' if self.unit == '%' else ''}"


def _perplexity(loss: float) -> float:
    return math.inf if loss >= 700 else math.exp(loss)


def bits_of(loss: float) -> float:
    """A loss of nats in bits."""
    return loss / math.log(2)


# A benchmark's table has it too, and a supernet whose weights an architecture inherits.
ACCURACY = Metric(
    "accuracy", True, (*Metric.parts, "table", "supernet"), (*Metric.results, "table"), "acc",
    unit="%", factor=100.0, decimals=2, short=".1f", least=0.0, most=1.0,
)  # fmt: skip
SHARE = replace(ACCURACY, word="", results=Metric.results)
# The mean over classes; beside the plain one it would say little in the line of an epoch.
BALANCED = replace(SHARE, name="balanced_accuracy", title="balanced", parts=("architecture", "valid", "test"))
# The papers on ImageNet give top-1 and top-5 error.
TOP5 = replace(SHARE, name="top5_accuracy", title="top-5", parts=("test",))
PERPLEXITY = Metric("perplexity", False, word="ppl", decimals=2, short=".1f", least=0, of_loss=_perplexity)
# What texts that are read character by character are compared by, beside the perplexity.
BITS = Metric(
    "bits_per_character", False, title="bits per character", unit="bits", decimals=3, least=0, of_loss=bits_of
)
# What `metrics=` of an evaluation names besides; what each class has a value of is the mean over classes.
OF_CLASSES = replace(SHARE, parts=("valid", "test"), results=("valid", "test"))
COEFFICIENT = replace(OF_CLASSES, unit="", factor=1.0, decimals=4)
ASKED = (
    replace(OF_CLASSES, name="f1", title="F1"),
    replace(OF_CLASSES, name="precision", title="precision"),
    replace(OF_CLASSES, name="recall", title="recall"),
    replace(OF_CLASSES, name="specificity", title="specificity"),
    replace(COEFFICIENT, name="auroc", title="AUROC", partial=True),
    replace(COEFFICIENT, name="kappa", title="Cohen's kappa", least=-1.0, partial=True),
    replace(COEFFICIENT, name="mcc", title="Matthews correlation", least=-1.0),
    replace(COEFFICIENT, name="ece", title="calibration error", higher=False),
)
RANKS = re.compile("top([2-9]|[1-9][0-9]{1,6})")
TOP = re.compile(f"{RANKS.pattern}_accuracy")
LOSS = Metric("loss", False, results=("weight", "valid", "test"), word="loss", unit="nats")
SKIPS = Metric("num_skip", word="skips", title="skip connections", unit="edges", decimals=2, short=".0f",
    least=0, most=2**63, parts=("",), results=("",),
)  # fmt: skip
RATE = Metric("learning_rate", word="lr", title="learning rate", short=".3g", parts=("",), results=())
EIGENVALUE = Metric(
    "hessian_eigenvalue", word="eigenvalue", title="Hessian: largest eigenvalue", short=".3g",
    parts=("",), results=("",),
)  # fmt: skip
RANK = Metric("rank", False, parts=("table",), results=("table",))
PARAMS = Metric("params", False, ("",), ("",), unit="M", factor=1e-6, decimals=3, least=0, most=2**63)
# Of the device of a search, the largest stage's.
MEMORY = Metric(
    "memory_estimated", False, ("",), ("",), unit="MB", factor=1e-6, decimals=0, least=0, most=2**63
)
# Of the architecture of a search on a table of costs, or under a budget (nas.analysis.costed).
COST = Metric("cost", False, ("",), ("",), least=0)
REGRET = Metric("regret_constrained", False, ("",), ("",), title="regret within the budget",
    unit="points", decimals=2, least=0, most=100,
)  # fmt: skip
DISTANCE = replace(REGRET, name="front_distance", title="distance to the front")
# What the task of a domain measures beside the loss; it is judged by the first.
OF_TASKS = {"images": (ACCURACY, BALANCED, TOP5), "text": (PERPLEXITY,)}
FURTHER = (
    BITS, LOSS, RANK, replace(RANK, name="gap"), COST, REGRET, DISTANCE, SKIPS, RATE, EIGENVALUE, PARAMS,
    replace(PARAMS, name="macs"), MEMORY,
)  # fmt: skip


def all_metrics() -> tuple[Metric, ...]:
    """Every metric, in the order of a sweep's table."""
    return (*chain.from_iterable(OF_TASKS.values()), *ASKED, *FURTHER)


def among(k: int) -> Metric:
    """The share of images whose class is among the k likeliest, where `metrics=` asks for it."""
    return replace(OF_CLASSES, name=f"top{k}_accuracy", title=f"top-{k}")


def with_asked(always: Sequence[Metric], names: Sequence[str], classes: int | None) -> tuple[Metric, ...]:
    """What an evaluation measures beside the loss.

    Args:
        always: what every evaluation of its domain measures.
        names: what is asked for besides: `metrics=` of `nas.evaluate`.
        classes: K, how many the data set has; None for text.

    Raises:
        ConfigError: a name is unknown, or means nothing for so many classes, or for text.
    """
    check_asked(names)
    known = {metric.name: metric for metric in always}
    further = {metric.name: metric for metric in ASKED}
    for name in dict.fromkeys(names):
        ranks = RANKS.fullmatch(name)
        fits = name in known or (classes is not None and (name in further or ranks is not None))
        of, more = ("text", ()) if classes is None else ("images and signals", (*further, "top2, top3, ..."))
        here = ", ".join((*(one.name for one in always if one.name != TOP5.name), *more))
        require(fits, f"metrics={shown(name)}: not measured on {of}; known there: {here}")
        if name in known or classes is None:
            continue
        least = 2 if ranks is None else int(ranks[1]) + 1
        require(
            classes >= least,
            f"metrics={shown(name)}: needs {least} classes or more, and the data set has {classes}"
            + (f"; top{classes - 1} is the most that says anything" if ranks and classes > 2 else ""),
        )
        metric = further[name] if ranks is None else among(int(ranks[1]))
        # The top-5 accuracy is there already, but of the test set alone.
        known[metric.name] = metric
    return tuple(known.values())


def check_asked(names: Sequence[str]) -> None:
    """Refuses a name of `metrics=` that no evaluation knows.

    Raises:
        ConfigError: it says which are known.
    """
    always = [metric.name for metric in chain.from_iterable(OF_TASKS.values()) if metric.name != TOP5.name]
    known = [*always, BITS.name, *(metric.name for metric in ASKED)]
    for name in names:
        require(
            name in known or RANKS.fullmatch(name) is not None,
            f"metrics={shown(name)}: unknown; known are {', '.join(known)}, and top2, top3, top5, ... (the "
            "class is among the likeliest so many)",
        )


def without_missing(numbers: Mapping[str, float]) -> dict[str, float]:
    """The numbers but for nan where a metric has no value on its data."""
    return {
        name: value
        for name, value in numbers.items()
        if not (math.isnan(value) and (metric := metric_of(name)[1]) is not None and metric.partial)
    }


def columns(metrics: Sequence[Metric], part: str) -> tuple[str, ...]:
    """What a table holds of a part of a run: the loss and the metrics that are measured on it."""
    return tuple(metric.column(part) for metric in (LOSS, *metrics) if part in metric.parts)


def of_losses(metrics: Sequence[Metric], numbers: Mapping[str, float]) -> dict[str, float]:
    """The metrics that follow from the losses among the numbers."""
    return {
        metric.column(part): metric.of_loss(numbers[LOSS.column(part)])
        for metric in metrics
        if metric.of_loss is not None
        for part in metric.parts
        if LOSS.column(part) in numbers
    }


def metric_of(column: str) -> tuple[str, Metric | None]:
    """The part and the metric of a column, or of a key of a summary; no metric where it has none.

    What a table holds has a further name between (`table_in16_test_accuracy`), an eigenvalue one behind.
    """
    plain = re.sub(r"^(table)_\w+(_accuracy)$|^(hessian_eigenvalue)_\w+$", r"\1\2\3", column)
    for metric in all_metrics():
        part = plain.removesuffix(metric.name)[:-1]
        if part in metric.parts and metric.column(part) == plain:
            return part, metric
    part, _, name = plain.partition("_")
    found = TOP.fullmatch(name)
    return (part, among(int(found[1]))) if found and part in OF_CLASSES.parts else ("", None)


def is_result(column: str) -> bool:
    """Whether it is a column of a sweep's table."""
    part, metric = metric_of(column)
    return metric is not None and part in metric.results


def place(column: str) -> tuple[int, int, bool]:
    """Where a result stands in a sweep's table, as a key to sort by."""
    part, metric = metric_of(column)
    if metric is None or part == "table":
        return PARTS.index(part), 0, False
    known = [one.name for one in all_metrics()]
    # However many are looked at, they stand where the usual number of them does.
    name = metric.name if metric.name in known else TOP5.name
    return PARTS.index(part), known.index(name), column != metric.column(part)
