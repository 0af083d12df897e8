"""What searches and evaluations of the papers would take on a GPU, predicted from their operators.

    python -m experiments.performance.roofline [--keep]

Counts the operators of each step on torch's device `meta`, with the options of the `gpu` profile and at the
papers' sizes, and prints launches, bytes, operations and the predicted times of the cards in
`nas.measure.roofline`, whose assumptions the table names. With `--keep` it goes into docs/performance.md.
Takes some minutes of a processor and no GPU.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from experiments.gpu_check.cases import NARROW, Case, cases
from experiments.records import between
from nas.engine.machine.execution import apply_execution
from nas.engine.step import Frame
from nas.engine.tasks import Classification
from nas.files import write_text
from nas.genotype import load
from nas.measure.roofline import CARDS, Assumed, Card, Step, stream_of
from nas.measure.steps import EvaluationSteps, Numerics, SearchSteps
from nas.spaces.space import ImageInputs

PAGE = Path(__file__).resolve().parents[2] / "docs/performance.md"
BEGIN = "<!-- roofline: python -m experiments.performance.roofline --keep -->"
END = "<!-- end of roofline -->"
META = Numerics(torch.device("meta"), torch.float32, None, True)
# Batches of a run: CIFAR-10's halves of 25,000 images in batches of 64, its 50,000 in batches of 96.
HALF, WHOLE = 25_000 // 64, 50_000 // 96


@dataclass(frozen=True)
class Run:
    """What is run on a card.

    Attributes:
        name: in the table.
        steps: what a batch costs, by name.
        times: how often each is taken.
        goal: minutes that are hoped for.
        theirs: the weight step of the literal network.
    """

    name: str
    steps: Mapping[str, Step]
    times: Mapping[str, int]
    goal: float
    theirs: Mapping[str, Step] = field(default_factory=dict)

    def minutes(self, card: Card, assumed: Assumed, graph: bool) -> float:
        """How long it would take."""
        seconds = sum(
            self.times[name] * step.seconds(card, assumed, graph) for name, step in self.steps.items()
        )
        return seconds / 60


class GpuFrame(Frame):
    """Clips all gradients by a few operators, as torch does by itself on a GPU and not on `meta`."""

    def clip(self, optimizer: torch.optim.Optimizer, norm: float | None, value: float | None) -> None:
        """Clips an optimiser's gradients."""
        found = (weight.grad for group in optimizer.param_groups for weight in group["params"])
        gradients = [gradient for gradient in found if gradient is not None]
        if norm is not None:
            total = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            torch._foreach_mul_(gradients, (norm / (total + 1e-6)).clamp(max=1.0))
        if value is not None:
            torch._foreach_clamp_min_(gradients, -value)
            torch._foreach_clamp_max_(gradients, value)


def as_on_gpu(steps: SearchSteps) -> SearchSteps:
    """Steps whose optimisers take all tensors at once, as they do on a GPU."""
    steps.taken.frame = GpuFrame()
    for optimizer in (steps.optimizer, steps.architecture_optimizer):
        for group in optimizer.param_groups:
            if "foreach" in group:
                group["foreach"] = True
    return steps


def search_steps(case: Case, batch: int | None = None) -> dict[str, Step]:
    """The steps of a search, with momentum there."""
    steps = as_on_gpu(case.search(META, "recompute", batch))
    stream_of(steps.search)  # after which optimisers remember
    return {
        "weight": stream_of(steps.weight),
        "first order": stream_of(steps.first_order),
        "validation": stream_of(steps.validation),
    }


def literal_steps(case: Case, batch: int | None = None) -> dict[str, Step]:
    """The same of the literal network, as the authors' code takes them."""
    steps = as_on_gpu(case.original(META, batch))
    for run in (steps.first_order, steps.weight):
        stream_of(run)
    return {"weight": stream_of(steps.weight), "first order": stream_of(steps.first_order)}


def evaluation_steps(batch: int = 96) -> dict[str, Step]:
    """The training step of the paper's evaluation network, auxiliary head included."""
    inputs = ImageInputs((3, 32, 32), 10)
    space = cases(False)[0].space
    genotype = load("DARTS_V2", "darts")
    network = space.network(genotype, inputs, num_cells=20, init_channels=36, stem="cifar", auxiliary=True)
    network = apply_execution(network.to("meta"), {**NARROW, "accelerator": "cuda"})
    network.set_drop_path(0.1)

    def build(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, 0.025, momentum=0.9, weight_decay=3e-4, foreach=True)

    # Clipping is two passes over the gradients, which are left out: on `meta` it goes tensor by tensor.
    steps = EvaluationSteps(
        network, build, Classification(), None, META.batch(batch, inputs, 0), META, auxiliary_weight=0.4
    )
    stream_of(steps.train)
    return {"training": stream_of(steps.train)}


RUNS = ("darts", "nasbench201", "drnas_stage1", "evaluation")


def run_of(name: str) -> Run:
    """A run of the papers that the table is about, by its name in `RUNS`."""
    if name == "evaluation":
        return Run("evaluation of DARTS_V2, 600 epochs", evaluation_steps(), {"training": 600 * WHOLE}, 120)
    case = next(case for case in cases(False) if case.name == name)
    words, epochs, goal = {
        "darts": ("DARTS, first order", 50, 5.0),
        "nasbench201": ("DrNAS in NAS-Bench-201", 100, 5.0),
        "drnas_stage1": ("DrNAS (K=6), stage 1", 25, 0.0),
    }[name]
    times = dict.fromkeys(("weight", "first order", "validation"), epochs * HALF)
    return Run(f"{words}, {epochs} epochs", search_steps(case), times, goal, literal_steps(case))


def table(found: Sequence[Run], assumed: Assumed) -> str:
    """The tables of the page."""
    peaks = "; ".join(
        f"{card.name} {card.bandwidth / 1e9:,.0f} GB/s, {card.single / 1e12:.1f} and "
        f"{card.matrix / 1e12:.0f} TFLOP/s"
        for card in CARDS
    )
    lines = [
        f"Assumed: an operator reaches {100 * assumed.memory:.0f} % of the memory's speed; products and",
        f"dense convolutions {100 * assumed.matrix:.0f} % of the peak of matrix products, depthwise ones",
        f"{100 * assumed.depthwise:.0f} % of the float32 peak; no kernel ends before",
        f"{1e6 * assumed.kernel:.0f} us, and the host takes {1e6 * assumed.launch:.0f} us to hand one in",
        f"(of a graph: none). In half precision every number is taken to have two bytes. Peaks: {peaks}.",
        "",
        "| step, one batch | launches | of the literal network's | GFLOP | GB moved, float32 | half |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for run in found:
        for name, step in run.steps.items():
            theirs = run.theirs.get(name)
            share = "" if theirs is None else f"{100 * step.launches / theirs.launches:.1f} %"
            single, half = (step.moved(card) / 1e9 for card in (CARDS[0], CARDS[1]))
            lines.append(
                f"| {run.name.split(',')[0]}: {name} | {step.launches:,} | {share} | {step.flops / 1e9:.1f} "
                f"| {single:.2f} | {half:.2f} |"
            )
    head = " | ".join(card.name for card in CARDS)
    lines += ["", f"| whole run, minutes (steps as graphs) | hoped for | {head} |"]
    lines.append("| --- | ---: |" + " ---: |" * len(CARDS))
    for run in found:
        cells = [
            f"{run.minutes(card, assumed, False):.1f} ({run.minutes(card, assumed, True):.1f})"
            for card in CARDS
        ]
        goal = f"{run.goal:.0f}" if run.goal else ""
        lines.append(f"| {run.name} | {goal} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables, and puts them into the page if asked to."""
    parser = ArgumentParser(prog="python -m experiments.performance.roofline", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="write the tables into docs/performance.md")
    parser.add_argument("--runs", nargs="*", choices=RUNS, default=RUNS, help="rows; all of them by default")
    asked = parser.parse_args(arguments)
    words = table([run_of(name) for name in asked.runs], Assumed())
    print(words)
    if asked.keep:
        before, _, after = between(PAGE.read_text(encoding="utf-8"), BEGIN, END)
        write_text(PAGE, f"{before}\n{words}\n{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
