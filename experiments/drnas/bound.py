"""The bound of proposition 1 of Chen et al. 2021, checked in numbers.

    python -m experiments.drnas.bound --results experiments/drnas/results

The proposition: where the Hessian of L(softmax(mu)) is positive semi-definite, the expected loss over
Dirichlet(beta) is approximately at least

    L(softmax(mu)) + c / 2 tr(Hessian),   c = (1 - 2 / O) / (1 + delta) + 1 / (O (1 + delta))

with mu_o = log beta_o - mean(log beta) and delta = ||beta - 1||. "Approximately", because its proof puts a
normal distribution in the place of the Dirichlet, and a Taylor polynomial of degree 2 in that of the loss.
Here the expectation is the Dirichlet's own. On strongly convex quadratic losses of one edge it is a closed
form, at random concentrations; in a search on the digits it is a mean over draws, for all edges of the
supernet at once, after every epoch. A few minutes on one core.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD, Adam

from nas.analysis.hessian import hessian_product
from nas.data.digits import Digits
from nas.engine.stages import attach
from nas.engine.step import Step
from nas.engine.tasks import Classification
from nas.methods.layout import layout_of
from nas.methods.method import Method
from nas.methods.regularizers import Anchor
from nas.methods.relaxations import Dirichlet
from nas.methods.updates import FirstOrder
from nas.spaces.nasbench201 import NasBench201Space
from nas.spaces.space import ImageInputs

OPERATIONS = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
DISTANCES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
SMALLEST = 1e-9


@dataclass(frozen=True)
class Sides:
    """Both sides of the inequality at one concentration.

    Attributes:
        delta: how far the concentrations are from 1.
        centre: the loss at the Dirichlet mean.
        bound: the right side.
        least: the smallest eigenvalue of the Hessian.
        expected: the left side.
        error: its standard error; 0 for a closed form.
    """

    delta: float
    centre: float
    bound: float
    least: float
    expected: float
    error: float = 0.0

    @property
    def semidefinite(self) -> bool:
        """Whether the proposition says anything: no negative curvature, up to rounding."""
        return self.least > -SMALLEST * max(1.0, abs(self.centre))

    @property
    def holds(self) -> bool:
        """Whether the left side is at least the right one."""
        return self.expected >= self.bound


def coefficient(delta: float, operations: int) -> float:
    """What half the Hessian's trace is multiplied by: the least variance of mu that the proof allows."""
    return ((1 - 2 / operations) + 1 / operations) / (1 + delta)


def right_side(loss: Callable[[Tensor], Tensor], beta_EO: Tensor) -> tuple[float, float, float, float]:
    """The distance of beta from 1, the loss at the mean, the bound, and the Hessian's smallest eigenvalue.

    Args:
        loss: op weights [E, O] -> a scalar, differentiable twice.
        beta_EO: concentrations.
    """
    log_EO = beta_EO.log()
    mu_EO = (log_EO - log_EO.mean(-1, keepdim=True)).requires_grad_()
    product = hessian_product(lambda: loss(mu_EO.softmax(-1)), [mu_EO])
    hessian_NN = np.stack([product(row_N) for row_N in np.eye(mu_EO.numel())])
    delta = (beta_EO - 1).norm().item()
    with torch.no_grad():
        centre = loss(mu_EO.softmax(-1)).item()
    bound = centre + coefficient(delta, beta_EO.shape[-1]) / 2 * float(np.trace(hessian_NN))
    least = float(np.linalg.eigvalsh((hessian_NN + hessian_NN.T) / 2)[0])
    return delta, centre, bound, least


def quadratic(generator: torch.Generator, delta: float, operations: int = 5) -> Sides:
    """A strongly convex (theta - t) A (theta - t) / 2 of one edge, at a concentration so far from 1.

    Its expectation is that of the mean plus tr(A Cov) / 2, Cov = (diag(m) - m m') / (sum(beta) + 1). Its
    minimum t is the mean m itself, moved by a tenth at random within the simplex.
    """
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    root_OO, direction_O = draw(operations, operations), draw(operations)
    curved_OO = root_OO @ root_OO.T + torch.eye(operations, dtype=torch.float64)
    # Concentrations stay above 0: what would be below is turned upwards.
    step_O = delta * direction_O / direction_O.norm()
    beta_O = 1 + torch.where(step_O < -0.95, -step_O, step_O)
    mean_O = beta_O / beta_O.sum()
    target_O = 0.9 * mean_O + 0.1 * draw(operations).softmax(-1)

    def loss(theta_EO: Tensor) -> Tensor:
        away_O = theta_EO[0] - target_O
        return away_O @ curved_OO @ away_O / 2

    covariance_OO = (mean_O.diag() - mean_O.outer(mean_O)) / (beta_O.sum() + 1)
    found, centre, bound, least = right_side(loss, beta_O[None])
    return Sides(found, centre, bound, least, centre + (curved_OO * covariance_OO).sum().item() / 2)


def build(inputs: ImageInputs) -> Step:
    """DrNAS on a small supernet of NAS-Bench-201, its rates ten times the paper's: a search of few steps."""
    space = NasBench201Space("nasbench201", OPERATIONS, cells_per_stage=1, init_channels=4)
    shapes = {name: group.shape for name, group in space.groups.items()}
    method = Method(
        "drnas", shapes, Dirichlet(), FirstOrder(), layout=layout_of(space.groups), clip=5.0,
        regularizers={"anchor": Anchor("l2", "objective", 1e-3)},
        weight_optimizer=partial(SGD, lr=0.1, momentum=0.9, weight_decay=3e-4),
        architecture_optimizer=partial(Adam, lr=3e-2, betas=(0.5, 0.999)),
    )  # fmt: skip
    # In double precision: an edge's Hessian has an eigenvalue of 0, which rounding must not make negative.
    step = Step(space.supernet(inputs).double(), attach(method, space, inputs).double(), Classification())
    step.build_optimizers()
    return step


def search(epochs: int, draws: int, images: int) -> Iterator[Sides]:
    """A search on the digits; both sides after every epoch, on images of the architecture split.

    Args:
        epochs: of the search.
        draws: from which the expectation is estimated.
        images: of the loss.
    """
    torch.manual_seed(0)
    digits, size = Digits().train(), 32
    pixels, labels = (digits.images_NCHW.double() / 255 - 0.2878) / 0.3544, digits.labels
    weight_N, architecture_N = torch.randperm(len(labels)).chunk(2)
    step = build(ImageInputs(image_shape=(1, 8, 8), num_classes=10))
    held = architecture_N[:images]

    def loss(theta_EO: Tensor) -> Tensor:
        return F.cross_entropy(step.supernet(pixels[held], {"cell": theta_EO}), labels[held])

    for _ in range(epochs):
        halves = (part[torch.randperm(len(part))].split(size) for part in (weight_N, architecture_N))
        for one, other in zip(*halves, strict=False):
            batch, held_out = ((pixels[part], labels[part]) for part in (one, other))
            step.architecture(batch, held_out)
            step.weight(batch)
        relaxation = step.method.relaxation
        beta_EO = relaxation.concentration(step.alphas[0].detach())
        delta, centre, bound, least = right_side(loss, beta_EO)
        with torch.no_grad():
            thetas = torch.distributions.Dirichlet(beta_EO).sample((draws,))
            losses_S = torch.stack([loss(theta_EO) for theta_EO in thetas])
        error = (losses_S.std() / draws**0.5).item()
        yield Sides(delta, centre, bound, least, losses_S.mean().item(), error)


def quadratics(count: int, distances: Sequence[float] = DISTANCES) -> dict[float, list[Sides]]:
    """So many random quadratics at each distance, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    return {delta: [quadratic(generator, delta) for _ in range(count)] for delta in distances}


def main(words: Sequence[str] | None = None) -> None:
    """Computes both and writes `bound.csv`, `bound.md` and `bound.png`."""
    from experiments.drnas.bound_record import record

    parser = ArgumentParser(prog="python -m experiments.drnas.bound", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="the folder that is written into")
    parser.add_argument("--count", type=int, default=200, help="quadratics at each distance")
    parser.add_argument("--epochs", type=int, default=10, help="of the search on the digits")
    parser.add_argument("--draws", type=int, default=100, help="from which an expectation is estimated")
    parser.add_argument("--images", type=int, default=128, help="of the loss on the digits")
    given = parser.parse_args(words)
    digits = list(search(given.epochs, given.draws, given.images))
    record(given.results, quadratics(given.count), digits)


if __name__ == "__main__":
    main()
