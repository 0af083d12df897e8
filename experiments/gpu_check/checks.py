"""The checks of a GPU's steps: torch, numpy and this tree are enough."""

import statistics
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from experiments.gpu_check.cases import Case
from experiments.gpu_check.rows import LeftOut
from nas.analysis.cost.timing import Race
from nas.engine.graphs import Recorder
from nas.measure.footprint import LiveBytes, measure_footprint
from nas.measure.roofline import CARDS, Assumed, stream_of
from nas.measure.steps import Numerics, SearchSteps
from nas.measure.waits import DeviceWatch, counters
from nas.spaces.native.library import load_library

# Distances from the literal network, relative to the largest value, that are rounding and no mistake.
EXACT, SINGLE = 1e-9, 2e-2
# Learning rate of the step by which gradients of all weights are compared.
RATE = 0.05


def numbers(device: torch.device, precision: str) -> Numerics:
    """What a precision stands for on a device; of float16 the operators, without any scaling of losses."""
    types = {
        "64-true": (torch.float64, None), "32-true": (torch.float32, None),
        "bf16-mixed": (torch.float32, torch.bfloat16), "16-mixed": (torch.float32, torch.float16),
    }  # fmt: skip
    return Numerics(device, *types[precision], channels_last=device.type == "cuda")


def parity(case: Case, device: torch.device, way: str) -> Mapping[str, Any]:
    """A way of computing against the literal network: loss, alpha's gradient, and the loss after a step.

    The last one stands for the gradients of all weights.

    Raises:
        LeftOut: the tests, or the compiled kernel, are not there.
        AssertionError: the distance is no rounding.
    """
    if way == "native" and device.type != "cpu":
        raise LeftOut("the compiled kernel is for processors")
    if way == "native" and load_library() is None:
        raise LeftOut("the compiled kernel cannot be built here")
    if way in ("wide", "recompute") and case.text:
        raise LeftOut("a recurrent cell knows neither")
    distances: dict[str, Any] = {}
    for precision, most in {"64-true": EXACT, "32-true": SINGLE}.items():
        where = numbers(device, precision)
        try:
            literal = case.literal(where)
        except ModuleNotFoundError as error:
            raise LeftOut(f"no literal network to compare with ({error})") from error
        ours = _values(case, where, case.loaded(case.supernet(where, way), literal))
        theirs = _values(case, where, literal)
        worst = max(_distance(a, b) for a, b in zip(ours, theirs, strict=True))
        distances[f"distance_{precision.split('-')[0]}"] = worst
        if not worst <= most:
            raise AssertionError(f"{precision}: {worst:.2g} from the literal network, at most {most:g}")
    return distances


def _values(case: Case, where: Numerics, network: nn.Module) -> list[Tensor]:
    network.train()
    op_weights, task = case.op_weights(where), case.task()
    batch, _ = case.batches(where, min(case.batch, 8))
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    torch.manual_seed(7)
    loss = task.run(network, batch, op_weights).loss
    found = torch.autograd.grad(loss, [*op_weights.values(), *weights], allow_unused=True)
    alphas = [gradient for gradient in found[: len(op_weights)] if gradient is not None]
    with torch.no_grad():
        for weight, gradient in zip(weights, found[len(op_weights) :], strict=True):
            if gradient is not None:
                weight.sub_(gradient, alpha=RATE)
        torch.manual_seed(7)
        after = task.run(network, batch, op_weights).loss
    return [loss.detach(), *alphas, after]


def _distance(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-12))


def waits(case: Case, device: torch.device, precision: str) -> Mapping[str, Any]:
    """That a step of weights and alpha, of first and of second order, makes the host wait for nothing.

    Raises:
        AssertionError: it does; names the first line.
    """
    steps = case.search(numbers(device, precision))
    runs = {"search": steps.search}
    if steps.method.has_step("second_order") and precision == "32-true":
        runs["second_order"] = steps.second_order
    for run in runs.values():
        run()
        run()
    with _no_waiting(device):
        for run in runs.values():
            run()
    with DeviceWatch(device, counters(steps.optimizer, steps.architecture_optimizer)) as watch:
        for run in runs.values():
            run()
    if watch.found:
        raise AssertionError(f"{len(watch.found)} times, the first: {watch.found[0]}")
    if not all(bool(weight.isfinite().all()) for weight in steps.weights):
        raise AssertionError("weights are not finite after the steps")
    return {"steps": len(runs), "waits": 0}


@contextmanager
def _no_waiting(device: torch.device) -> Any:
    """Inside the block whatever waits for a GPU is an error."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.synchronize(device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def memory(case: Case, device: torch.device) -> Mapping[str, Any]:
    """The peak of a weight step beside the estimate that refuses searches which do not fit.

    Raises:
        AssertionError: the peak is above the estimate, which leaves out what libraries use within operators.
    """

    def prepare(size: int, where: Numerics) -> tuple[list[Tensor], SearchSteps]:
        steps = case.search(where, size=size)
        steps.weight()  # gradients and momentum are there from the first step on
        batches = [steps.weight_batch, steps.architecture_batch]
        images = [part for batch in batches if isinstance(batch, tuple) for part in batch]
        state = [
            value for own in steps.optimizer.state.values() for value in own.values()
            if isinstance(value, Tensor)
        ]  # fmt: skip
        kept = [weight.grad for weight in steps.weights if weight.grad is not None]
        known = [*steps.weights, *steps.supernet.buffers(), *steps.alphas, *kept, *state, *images]
        return known, steps

    def small(size: int) -> Any:
        known, steps = prepare(size, numbers(torch.device("cpu"), "32-true"))
        return known, steps.weight

    estimated = measure_footprint(small).peak(case.batch)
    known, steps = prepare(case.batch, numbers(device, "32-true"))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        steps.weight()
        torch.cuda.synchronize(device)
        peak = torch.cuda.max_memory_allocated(device)
    else:
        with LiveBytes(known) as live:
            steps.weight()
        peak = max(live.moments)
    mib = 2**20
    # The allowance of a search: 5 % for gaps and 0.8 GiB for what is used within operators.
    if peak > 1.05 * estimated + 0.8 * 2**30:
        raise AssertionError(f"peak {peak / mib:.0f} MiB, estimated {estimated / mib:.0f} MiB")
    return {"peak_mib": peak / mib, "estimated_mib": estimated / mib, "peak_of_estimate": peak / estimated}


def speed(case: Case, device: torch.device, precision: str, rounds: int) -> Mapping[str, Any]:
    """Steps a second beside the literal network's in float32, in turn.

    Raises:
        LeftOut: the tests are not there.
    """
    ours = case.search(numbers(device, precision))
    try:
        theirs = case.original(numbers(device, "32-true"))
    except ModuleNotFoundError as error:
        raise LeftOut(f"no literal network to compare with ({error})") from error
    race = Race(device, warmup=2 if device.type == "cuda" else 1)
    for name in ("weight", "first_order"):
        race.enter(name, getattr(ours, name))
        race.enter(f"literal_{name}", getattr(theirs, name))
    seconds = {
        name: statistics.median(values)
        for name, values in race.seconds(dict.fromkeys(race.variants, rounds)).items()
    }
    found: dict[str, Any] = {f"{name}_per_second": 1 / seconds[name] for name in ("weight", "first_order")}
    for name in ("weight", "first_order"):
        found[f"{name}_ratio"] = seconds[f"literal_{name}"] / seconds[name]
    if device.type == "cuda":
        found |= {f"{name}_predicted_of_measured": predicted(ours, name, precision) / seconds[name]
                  for name in ("weight", "first_order")}  # fmt: skip
    return found | {"n": rounds, "predicted_ms": 1e3 * predicted(ours, "weight", precision)}


def predicted(steps: SearchSteps, name: str, precision: str) -> float:
    """Seconds of a step by the roofline: of this card, where its peaks are known, or of an A100."""
    here = torch.cuda.get_device_name() if steps.where.device.type == "cuda" else ""
    card = next((card for card in CARDS if card.name.split(" ")[0] in here), CARDS[1])
    if precision in ("32-true", "64-true"):
        card = replace(card, matrix=card.single, bytes_per_number=4)
    # Numbers are counted, whatever they are stored in: the card's precision says how many bytes they have.
    return stream_of(getattr(steps, name)).seconds(card, Assumed(), graph=False)


def modes(case: Case, device: torch.device, mode: str) -> Mapping[str, Any]:
    """Steps that are recorded as a graph, or compiled, beside the same steps as they are.

    Raises:
        LeftOut: there is nothing to record with, or the search cannot be recorded.
        AssertionError: the steps end elsewhere.
    """
    if mode == "graph" and device.type != "cuda":
        raise LeftOut("a CUDA graph is recorded by a GPU")
    if mode == "graph" and case.text:
        raise LeftOut("segments of a text differ in length")
    where, way = numbers(device, "32-true"), "wide" if mode == "compile" else "recompute"
    plain, other = case.search(where, way), case.search(where, way)
    if mode == "graph":
        other.taken.recorder = Recorder()
    else:
        # Generated code on a GPU; on a processor what the compiler sees of Python alone.
        backend = "inductor" if device.type == "cuda" else "eager"
        other.supernet.compile(backend=backend, fullgraph=True)
    for steps in (plain, other):
        for _ in range(5):
            steps.search()
    distance = max(_distance(a.detach(), b.detach()) for a, b in zip(other.alphas, plain.alphas, strict=True))
    race = Race(device, warmup=1)
    race.enter("plain", plain.search)
    race.enter(mode, other.search)
    seconds = {name: statistics.median(v) for name, v in race.seconds({"plain": 5, mode: 5}).items()}
    # Draws of a graph are others than those of plain steps, and Adam makes steps of noise: alpha is near.
    if not (distance < 1 and all(bool(weight.isfinite().all()) for weight in other.weights)):
        raise AssertionError(f"alpha is {distance:.2g} of its size from that of plain steps")
    return {"distance": distance, "plain_over_it": seconds["plain"] / seconds[mode]}


def precision_of(case: Case, device: torch.device, precision: str) -> Mapping[str, Any]:
    """How far alpha's gradient in a precision is from that in float64, relative to its norm."""
    gradients = []
    for one in (precision, "64-true"):
        where = numbers(device, one)
        steps = case.search(where)
        op_weights = case.op_weights(where)
        torch.manual_seed(7)
        with where.cast() if where.autocast else nullcontext():
            loss = steps.task.run(steps.supernet, steps.architecture_batch, op_weights).loss
        found = torch.autograd.grad(loss, list(op_weights.values()), allow_unused=True)
        gradients.append(torch.cat([g.flatten().double() for g in found if g is not None]))
    low, exact = gradients
    distance = float((low - exact).norm() / exact.norm())
    if not distance < 10:
        raise AssertionError(f"{precision}: alpha's gradient is {distance:.2g} times its norm off")
    return {"distance": distance}
