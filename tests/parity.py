"""Checks this project's numbers against a file of reference numbers: `python -m tests.parity FILE.npz`.

The file holds a small DARTS supernet in float64: parameters under `state.<name>`, fixed batches, and what the
authors' code computes from them (losses, gradients, architecture gradients of both orders, three search
steps). Channels, cells, classes, batch and image size are read off its arrays. Prints each array's largest
relative error and exits with 1 when one is above its bound.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch.nn import functional as F

from nas.methods.updates import Bilevel, FirstOrder, Unrolled
from nas.spaces.darts.space import DartsSpace
from nas.spaces.space import ImageInputs
from tests.reference.mapping import literal_view, load_literal

OPERATIONS = [
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect",
    "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
]  # fmt: skip
GROUPS = {"normal": "alphas_normal", "reduce": "alphas_reduce"}
FIRST, SECOND = 1e-9, 1e-6


class Parity:
    """One file of reference numbers, and the same quantities computed here."""

    def __init__(self, path: Path):
        self.data = arrays(path)
        state = self.state = {k[len("state.") :]: v for k, v in self.data.items() if k.startswith("state.")}
        channels = state["cells.0.preprocess0.op.1.weight"].shape[0]
        self.stem_multiplier = state["stem.0.weight"].shape[0] // channels
        num_cells = 1 + max(int(m[1]) for m in (re.match(r"cells\.(\d+)\.", name) for name in state) if m)
        self.space = DartsSpace("darts", OPERATIONS, 4, num_cells, channels, self.stem_multiplier)
        self.image_shape = tuple(self.data["x_train"].shape[1:])
        self.num_classes = state["classifier.weight"].shape[0]
        self.train = (self.data["x_train"], self.data["y_train"])
        self.valid = (self.data["x_valid"], self.data["y_valid"])
        self.parameters = [n for n in state if "running" not in n and "num_batches" not in n]

    def fresh(self):
        """A supernet, its alphas and an SGD optimiser in the file's initial state."""
        network = self.space.supernet(ImageInputs(self.image_shape, self.num_classes)).double()
        load_literal(network, self.state)
        alphas = {group: self.data[key].clone().requires_grad_() for group, key in GROUPS.items()}
        optimizer = torch.optim.SGD(network.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)
        return network, alphas, optimizer

    def problem(self, network, alphas, optimizer) -> Bilevel:
        def loss(batch):
            return F.cross_entropy(network(batch[0], {g: a.softmax(-1) for g, a in alphas.items()}), batch[1])

        return Bilevel(
            loss, network, list(network.parameters()), [alphas["normal"], alphas["reduce"]], optimizer
        )

    def rows(self, part: str = "") -> Iterator[tuple[str, float, float]]:
        """(array, largest relative error, bound) for everything that the file holds, or a part of it."""
        if part in ("", "passes"):
            yield from self._passes()
        if part in ("", "first_order"):
            yield from self._first_order()
        for prefix in ("second_order", "second_order_mom"):
            if part in ("", prefix) and f"{prefix}.grad_alphas_normal" in self.data:
                yield from self._second_order(prefix)
        for prefix, update in (("traj1", FirstOrder()), ("traj2", Unrolled())):
            if part in ("", prefix) and f"{prefix}.alphas_normal" in self.data:
                yield from self._trajectory(prefix, update)

    def _row(self, name: str, ours, bound: float) -> tuple[str, float, float]:
        return name, relative_error(torch.as_tensor(ours), self.data[name]), bound

    def _passes(self):
        for split, batch in (("train", self.train), ("valid", self.valid)):
            network, alphas, _ = self.fresh()
            logits = network(batch[0], {g: a.softmax(-1) for g, a in alphas.items()})
            loss = F.cross_entropy(logits, batch[1])
            yield self._row(f"logits_{split}", logits, FIRST)
            yield self._row(f"{split}_loss", loss, FIRST)
            loss.backward()
            for group, key in GROUPS.items():
                yield self._row(f"{split}_grad.{key}", alphas[group].grad, FIRST)
            gradients = literal_view(network, self.parameters, "grad")
            for name in self.parameters:
                yield self._row(f"{split}_grad.{name}", gradients[name], FIRST)
            if split == "train":
                names = [k.split(".", 1)[1] for k in self.data if k.startswith("state_after_train_fwd.")]
                for name, value in literal_view(network, names).items():
                    if "num_batches" not in name:
                        yield self._row(f"state_after_train_fwd.{name}", value, FIRST)
        network, alphas, _ = self.fresh()
        logits = network.eval()(self.valid[0], {g: a.softmax(-1) for g, a in alphas.items()})
        yield self._row("logits_valid_eval", logits, FIRST)

    def _first_order(self):
        network, alphas, optimizer = self.fresh()
        found = FirstOrder().gradient(self.problem(network, alphas, optimizer), self.train, self.valid)
        for (group, key), gradient in zip(GROUPS.items(), found.gradients, strict=True):
            yield self._row(f"first_order.grad_{key}", gradient, FIRST)
            alphas[group].grad = gradient
        adam(alphas).step()
        for group, key in GROUPS.items():
            yield self._row(f"first_order.after_adam.{key}", alphas[group], FIRST)

    def _second_order(self, prefix: str):
        network, alphas, optimizer = self.fresh()
        if prefix == "second_order_mom":
            names = [n for n in self.parameters if f"momentum.{n}" in self.data]
            tensors = dict(network.named_parameters())
            buffers = {id(p): torch.zeros_like(p) for p in tensors.values()}
            for p in tensors.values():
                optimizer.state[p]["momentum_buffer"] = buffers[id(p)]
            shadow = self.space.supernet(ImageInputs(self.image_shape, self.num_classes)).double()
            load_literal(shadow, {n: self.data[f"momentum.{n}"] for n in names})
            for name, p in shadow.named_parameters():
                buffers[id(tensors[name])].copy_(p.detach())
        problem = self.problem(network, alphas, optimizer)
        before = [w.detach().clone() for w in problem.weights]
        found = Unrolled().gradient(problem, self.train, self.valid)
        assert all(torch.equal(a, b) for a, b in zip(before, problem.weights, strict=True)), (
            "weights were not restored"
        )
        for key, gradient in zip(GROUPS.values(), found.gradients, strict=True):
            yield self._row(f"{prefix}.grad_{key}", gradient, SECOND)
        if prefix == "second_order":
            yield from self._second_order_details(network, alphas, problem, found)

    def _second_order_details(self, network, alphas, problem, found):
        for group, product in zip(("normal", "reduce"), found.implicit, strict=True):
            yield self._row(f"second_order.implicit_{group}", product, SECOND)
        yield self._row("second_order.unrolled_valid_loss", found.loss, FIRST)
        for parameter, value in zip(network.parameters(), found.vector, strict=True):
            parameter.grad = value
        vector = literal_view(network, self.parameters, "grad")
        for name in self.parameters:
            yield self._row(f"second_order.vector.{name}", vector[name], SECOND)
        norm = torch.sqrt(sum(v.pow(2).sum() for v in found.vector))
        yield self._row("second_order.vector_norm", norm, SECOND)
        exact = Unrolled(implicit="exact").gradient(problem, self.train, self.valid)
        for key, gradient in zip(GROUPS.values(), exact.gradients, strict=True):
            yield self._row(f"second_order.exact_grad_{key}", gradient, SECOND)
        for (group, _), gradient in zip(GROUPS.items(), found.gradients, strict=True):
            alphas[group].grad = gradient
        adam(alphas).step()
        for group, key in GROUPS.items():
            yield self._row(f"second_order.after_adam.{key}", alphas[group], SECOND)

    def _trajectory(self, prefix: str, update):
        network, alphas, optimizer = self.fresh()
        bound = FIRST if isinstance(update, FirstOrder) else SECOND
        problem, architecture = self.problem(network, alphas, optimizer), adam(alphas)
        losses, norms = [], []
        for _ in range(3):
            found = update.gradient(problem, self.train, self.valid)
            for group, gradient in zip(GROUPS, found.gradients, strict=True):
                alphas[group].grad = gradient
            architecture.step()
            optimizer.zero_grad()
            loss = problem.loss(self.train)
            loss.backward()
            norms.append(float(torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)))
            optimizer.step()
            losses.append(loss.item())
        for group, key in GROUPS.items():
            yield self._row(f"{prefix}.{key}", alphas[group], bound)
        yield self._row(f"{prefix}.train_losses", torch.tensor(losses, dtype=torch.float64), bound)
        yield self._row(f"{prefix}.grad_norms", torch.tensor(norms, dtype=torch.float64), bound)
        weights = literal_view(network, self.parameters)
        norms_by_tensor = torch.stack([weights[name].detach().norm() for name in self.parameters])
        yield self._row(f"{prefix}.weights_l2", norms_by_tensor, bound)


def arrays(path: Path) -> dict[str, torch.Tensor]:
    """The arrays of a file of reference numbers of a DARTS supernet.

    Raises:
        ValueError: it is another kind of file, or holds something else.
    """
    try:
        with np.load(path) as file:
            found = {name: torch.from_numpy(np.array(value)) for name, value in file.items()}
    except (OSError, ValueError, TypeError, AttributeError, BadZipFile) as error:
        raise ValueError(f"{path}: no .npz file of numbers ({' '.join(str(error).split())})") from error
    needed = [f"{kind}_{part}" for part in ("train", "valid") for kind in ("x", "y", "logits")]
    needed += [*GROUPS.values(), "state.stem.0.weight", "state.cells.0.preprocess0.op.1.weight"]
    missing = [name for name in needed if name not in found]
    if missing:
        raise ValueError(
            f"{path}: no reference numbers of a DARTS supernet (it lacks {', '.join(missing)}); those of "
            "other methods are compared by the tests"
        )
    return found


def adam(alphas) -> torch.optim.Adam:
    """The architecture optimiser of the reference numbers."""
    return torch.optim.Adam(
        [alphas["normal"], alphas["reduce"]], lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3
    )


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest absolute difference, relative to the largest absolute reference value."""
    difference = (ours.detach().double() - theirs.double()).abs().max()
    return float(difference / theirs.double().abs().max().clamp_min(1e-300))


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="an .npz file of reference numbers")
    path = parser.parse_args(arguments).file
    if not path.is_file():
        parser.error(f"{path}: no such file")
    failed = count = 0
    try:
        parity = Parity(path)
    except ValueError as error:
        parser.error(str(error))
    for name, error, bound in parity.rows():
        bad = not error <= bound
        failed, count = failed + bad, count + 1
        print(f"{error:10.2e}  {'above ' if bad else 'within'} {bound:.0e}  {name}")
    print(f"{count} arrays, {failed} above their bound")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
