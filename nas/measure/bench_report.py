"""What the measurements of `nas.bench` amount to: ratios, rates, and a table for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from nas.engine.provenance import device_name, versions

STEPS = {
    "weight": "weight",
    "first_order": "first order",
    "second_order": "second order",
    "second_order_exact": "second order, exact product",
    "validation": "validation, a batch",
    "evaluation": "evaluation network",
    "inference": "the same, inference",
    "full_weight": "weight, all candidates",
}
# Forward, gradient to the inputs, gradient to the weights; a multiplication and an addition each.
OPERATIONS_A_MAC = 3 * 2


def head(config: Mapping[str, Any]) -> dict[str, Any]:
    """What `bench.json` begins with: the choices, and where they were measured.

    Args:
        config: of the run.
    """
    hardware = config["hardware"]
    return {
        "space": config["space"]["name"],
        "method": config["method"]["name"],
        "dataset": config["dataset"]["name"],
        "hardware": hardware["name"],
        **{key: hardware[key] for key in ("precision", "channels_last", "compile")},
        "batch_size": config["dataset"]["batch_size"],
        "device": device_name(hardware["accelerator"]),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }


def relate(result: Mapping[str, Any], batch_size: int, time_steps: int | None = None) -> dict[str, float]:
    """Ratios and rates of the measured medians; of a reference in two memory formats the faster one counts.

    `gflops` is three times the forward multiply-adds of convolutions and linear layers, times two, over the
    seconds of a weight step (where one path is drawn, of one with all candidates): what it would take if
    nothing else cost anything. The rate is called
    `images_per_second`, or `words_per_second` of text.

    Args:
        result: `<step>_seconds` and `reference_<step>_seconds`, each with a `median`, and `macs`
            of an image or word.
        batch_size: images, or columns of text, per step.
        time_steps: words per column; None for images.
    """
    median = {key: value["median"] for key, value in result.items() if key.endswith("_seconds")}
    ratios = {
        f"{step}_ratio": min(found) / median[f"{step}_seconds"]
        for step in STEPS
        if (found := [median[key] for key in _references(step) if key in median])
    }
    if "full_weight_seconds" in median:
        ratios["path_share"] = median["weight_seconds"] / median["full_weight_seconds"]
    if "second_order_seconds" in median and "first_order_seconds" in median:
        ratios["second_over_first"] = median["second_order_seconds"] / median["first_order_seconds"]
    if "weight_seconds" in median:
        unit, size = ("images", batch_size) if time_steps is None else ("words", batch_size * time_steps)
        ratios[f"{unit}_per_second"] = size / median["weight_seconds"]
        flops = OPERATIONS_A_MAC * result["macs"] * size
        # Of a drawn path the multiply-adds are others at every step; those of all candidates are known.
        ratios["gflops"] = flops / median.get("full_weight_seconds", median["weight_seconds"]) / 1e9
    return ratios


def _references(step: str) -> tuple[str, str]:
    """Keys of what a step is measured against: contiguous images and, of evaluations, channels-last ones."""
    return f"reference_{step}_seconds", f"reference_{step}_channels_last_seconds"


def print_tables(result: Mapping[str, Any]) -> None:
    """Prints `bench.json` as tables: times, counts, and what an epoch adds to its steps."""
    console = Console()
    console.print(_times(result))
    console.print(_counts(result))
    if "alive" in result:
        console.print(_alive(result))
    if "stages" in result:
        console.print(_stages(result))
    if "loop_overhead" in result:
        console.print(_loop(result))


def _times(result: Mapping[str, Any]) -> Table:
    title = f"{result['space']}, {result['dataset']}, batch {result['batch_size']}, {result['precision']}"
    table = Table(title=f"{title}, {result['device']}, {result['threads']} threads")
    for column in ("seconds per step", "ours", "reference", "ratio"):
        table.add_column(column, justify="left" if column == "seconds per step" else "right")
    for step, words in STEPS.items():
        if f"{step}_seconds" in result:
            table.add_row(
                words,
                _spread(result[f"{step}_seconds"]),
                _spread(result.get(f"reference_{step}_seconds")),
                _number(result.get(f"{step}_ratio")),
            )
            other = result.get(f"reference_{step}_channels_last_seconds")
            if other is not None:
                table.add_row("  in channels-last", "", _spread(other), "")
    for step in result.get("steps_left_out", ()):
        table.add_row(STEPS[step], f"{result['method']} has none", "", "")
    if "data_images_per_second" in result:
        table.add_row(
            "augmentation, images/s",
            _spread(result["data_images_per_second"]),
            _spread(result["reference_data_images_per_second"]),
            f"1 / {_number(result['data_ratio'])}",
        )
    return table


def _counts(result: Mapping[str, Any]) -> Table:
    table = Table()
    for column in ("a weight step", "ours", "reference", "share", "gpu profile"):
        table.add_column(column, justify="left" if column == "a weight step" else "right")

    def row(words: str, key: str, ratio: str, unit: float = 1.0, digits: int = 0) -> None:
        if key in result:
            theirs = result.get(f"reference_{key}")
            table.add_row(
                words,
                f"{result[key] / unit:,.{digits}f}",
                "" if theirs is None else f"{theirs / unit:,.{digits}f}",
                _percent(result.get(ratio)),
                _percent(result.get(f"gpu_{ratio}")),
            )

    row("operators, views not counted", "operators", "operators_ratio")
    row("saved for backward, MiB", "bytes_saved", "bytes_ratio", 2**20)
    row("peak memory, MiB", "peak_memory", "", 2**20)
    row("images/s", "images_per_second", "", digits=1)
    row("words/s", "words_per_second", "", digits=1)
    row("GFLOP/s (6 x multiply-adds)", "gflops", "", digits=1)
    row("GFLOP/s, matrix product", "gflops_matmul", "", digits=1)
    row("second-order / first-order step", "second_over_first", "", digits=2)
    row("one path / all candidates", "path_share", "", digits=2)
    return table


def _alive(result: Mapping[str, Any]) -> Table:
    columns = {
        "drawn": lambda entry: _percent(entry["share"]),
        "left": lambda entry: f"{entry['connections']:,} of {entry['connections_of']:,}",
    }
    title = "connections drawn at random, cleaned, the network rebuilt; median seconds (of whole)"

    def seconds(step: str, median: float) -> str:
        return f"{_number(median)} ({_percent(median / result[f'{step}_seconds']['median'])})"

    return _networks(title, result["alive"], columns, seconds)


def _stages(result: Mapping[str, Any]) -> Table:
    columns = {
        "stage": lambda entry: str(entry["stage"]),
        "K": lambda entry: str(entry["partial"]),
        "candidates": lambda entry: f"{entry['candidates']:,} of {entry['candidates_of']:,}",
    }
    title = "the stages of this search, the first of which is measured above; median seconds"
    return _networks(title, result["stages"], columns, lambda step, median: _number(median))


def _networks(
    title: str,
    entries: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Callable[[Mapping], str]],
    seconds: Callable[[str, float], str],
) -> Table:
    """Other networks of the search: what tells them apart, their sizes, and the seconds of their steps."""
    table = Table(title=title)
    steps = [step for step in STEPS if f"{step}_seconds" in entries[0]]
    columns = {
        **columns,
        "M multiply-adds": lambda entry: f"{entry['macs'] / 1e6:,.2f}",
        "operators": lambda entry: f"{entry['operators']:,}",
        "saved, MiB": lambda entry: f"{entry['bytes_saved'] / 2**20:,.1f}",
    }
    for column in (*columns, *(STEPS[step] for step in steps)):
        table.add_column(column, justify="right")
    for entry in entries:
        cells = [text(entry) for text in columns.values()]
        table.add_row(*cells, *(seconds(step, entry[f"{step}_seconds"]["median"]) for step in steps))
    return table


def _loop(result: Mapping[str, Any]) -> Table:
    title = f"an epoch of {result['epoch_steps']:,} steps, from passages of {result['loop_steps']}"
    table = Table(title=title)
    for column in ("steps", "seconds per step", "added to an epoch"):
        table.add_column(column, justify="left" if column == "steps" else "right")
    for words, passage, overhead in (
        ("bare, on one pair of batches", "bare", ""),
        ("with the loader", "loader", "loader_overhead"),
        ("with Lightning's loop", "lightning", "loop_overhead"),
    ):
        table.add_row(words, _spread(result[f"loop_{passage}_seconds"]), _shares(result.get(overhead)))
    table.add_row("once an epoch: record, checkpoint", _spread(result["record_seconds_per_epoch"]), "")
    pictures = _spread(result["pictures_seconds"])
    table.add_row("once a run: pictures", pictures, _shares(result["record_overhead"]))
    return table


def _shares(value: Mapping[str, float] | None) -> str:
    return _spread(value, _percent, " to ")


def _spread(value: Mapping[str, float] | None, text: Callable | None = None, to: str = "-") -> str:
    if value is None:
        return ""
    median, low, high = ((text or _number)(value[key]) for key in ("median", "min", "max"))
    return f"{median} ({low}{to}{high}, n={value['n']})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}%"
