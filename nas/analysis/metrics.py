"""By what runs are judged: every metric is declared here, and read from here wherever one is named.

Its value on a part of the data is called `<part>_<metric>`, in tables as in `summary.json`. The task computes
it (`nas.engine.tasks`), unless it follows from the loss.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

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
# What the task of a domain measures beside the loss; it is judged by the first.
OF_TASKS = {"images": (ACCURACY, BALANCED, TOP5), "text": (PERPLEXITY,)}
FURTHER = (
    BITS, LOSS, RANK, replace(RANK, name="gap"), SKIPS, RATE, EIGENVALUE, PARAMS, replace(PARAMS, name="macs")
)  # fmt: skip


def all_metrics() -> tuple[Metric, ...]:
    """Every metric, in the order of a sweep's table."""
    return (*chain.from_iterable(OF_TASKS.values()), *FURTHER)


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
    return "", None


def is_result(column: str) -> bool:
    """Whether it is a column of a sweep's table."""
    part, metric = metric_of(column)
    return metric is not None and part in metric.results


def place(column: str) -> tuple[int, int, bool]:
    """Where a result stands in a sweep's table, as a key to sort by."""
    part, metric = metric_of(column)
    if metric is None or part == "table":
        return PARTS.index(part), 0, False
    return PARTS.index(part), all_metrics().index(metric), column != metric.column(part)
