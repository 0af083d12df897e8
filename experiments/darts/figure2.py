"""Figure 2 of Liu et al. 2019: the two-level steps on a problem of two numbers whose solution is known.

    python -m experiments.darts.figure2 --results experiments/darts/results

L_val = alpha w - 2 alpha + 1 and L_train = w^2 - 2 alpha w + alpha^2, from (alpha, w) = (2, -2). The best w
is alpha, and with it the best alpha is 1. A step of alpha has the gradient of `nas.methods.updates` with its
virtual step xi, a step of w is plain gradient descent. Where both rest alpha = w = 2 / (1 + 2 xi): first
order, xi = 0, ends in (2, 2), xi = 1/2 in the solution. Rates and xi are ours: the text has neither.
"""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from experiments.drawing import picture
from experiments.records import as_csv
from nas.analysis.plots.names import INK, LINE_COLOURS
from nas.files import write_text
from nas.methods.updates import Bilevel, FirstOrder, Unrolled, Update

START = (2.0, -2.0)
SOLUTION = (1.0, 1.0)
XIS = (0.0, 0.1, 0.25, 0.5)
RATE = 0.1
STEPS = 200

Places = list[tuple[float, float]]


class Number(nn.Module):
    """The weight w."""

    def __init__(self, value: float):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(value, dtype=torch.float64))


def problem(network: Number, alpha: Tensor) -> Bilevel:
    """The two losses; a batch is the name of one of them."""

    def loss(batch: str) -> Tensor:
        w = network.w
        return alpha * w - 2 * alpha + 1 if batch == "val" else w**2 - 2 * alpha * w + alpha**2

    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    return Bilevel(loss, network, list(network.parameters()), [alpha], optimizer)


def trajectory(xi: float, steps: int = STEPS) -> Places:
    """(alpha, w) before every step and after the last."""
    network = Number(START[1])
    alpha = torch.tensor(START[0], dtype=torch.float64, requires_grad=True)
    both = problem(network, alpha)
    update: Update = Unrolled(xi, momentum=False) if xi else FirstOrder()
    found = [START]
    for _ in range(steps):
        gradient = update.gradient(both, "train", "val").gradients[0]
        with torch.no_grad():
            alpha -= RATE * gradient
        both.optimizer.zero_grad()
        (network.w.grad,) = torch.autograd.grad(both.loss("train"), [network.w])
        both.optimizer.step()
        found.append((float(alpha.detach()), float(network.w.detach())))
    return found


def draw(paths: Mapping[float, Places], path: Path) -> Path:
    """Every trajectory, the weights that are best for their alpha, and the solution."""
    with picture(path, 760, 620) as figure:
        ax: Axes = figure.subplots()
        ax.plot([-1, 3.2], [-1, 3.2], "--", color=INK, alpha=0.6, label="w is best for alpha")
        for number, (xi, places) in enumerate(paths.items()):
            alphas, weights = zip(*places, strict=True)
            ax.plot(alphas, weights, ".-", color=LINE_COLOURS[number], markersize=4, label=f"xi = {xi:g}")
            ax.plot(alphas[-1], weights[-1], "s", color=LINE_COLOURS[number], markersize=8)
        ax.plot(*SOLUTION, "o", markersize=16, markerfacecolor="none", color=INK, label="solution")
        ax.set(xlabel="alpha", ylabel="w")
        ax.legend()
    return path


def record(folder: Path) -> list[Path]:
    """Writes `figure2.csv`, the ends of all trajectories, and `figure2.png`."""
    paths = {xi: trajectory(xi) for xi in XIS}
    ends = [
        {"xi": xi, "alpha": f"{a:.6f}", "w": f"{w:.6f}", "2 / (1 + 2 xi)": f"{2 / (1 + 2 * xi):.6f}",
         "validation loss": f"{a * w - 2 * a + 1:.6f}"}
        for xi, (*_, (a, w)) in paths.items()
    ]  # fmt: skip
    write_text(folder / "figure2.csv", as_csv(ends))
    return [folder / "figure2.csv", draw(paths, folder / "figure2.png")]


def main(words: Sequence[str] | None = None) -> None:
    """Computes, writes and prints what it wrote."""
    parser = ArgumentParser(prog="python -m experiments.darts.figure2", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--results", type=Path, required=True, help="the folder of figure2.csv and figure2.png"
    )
    given = parser.parse_args(words)
    given.results.mkdir(parents=True, exist_ok=True)
    for path in record(given.results):
        print(path)


if __name__ == "__main__":
    main()
