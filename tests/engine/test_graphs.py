"""Steps that are recorded once and replayed: on a processor a replay of operators stands for a CUDA graph."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from nas.engine.graphs import Recorder, check_graph, unrecordable
from nas.engine.machine.hardware import check_hardware
from nas.engine.search_module import search_module
from nas.errors import ConfigError
from tests.engine.replay import record
from tests.engine.whole_steps import IMAGES, SEARCHES, search_steps

GPU = {"wide": True, "recompute": True}
STEPS = 5  # two as they are, then what was recorded of them
RECORDED = {
    **{name: SEARCHES[name] for name in ("darts1", "drnas_progressive", "pcdarts", "dsonas", "drnas_nb201")},
    "drop-path": ("method=rdarts_dp", "method.update=first_order", *IMAGES),
    "noise on op weights": ("method=sdarts_rs", *IMAGES),
    "the worst op weights": ("method=sdarts_adv", *IMAGES),
    "one level": ("method=snas", *IMAGES),
    "a second term": ("method=beta_darts", *IMAGES),
}


def recorder_of(steps):
    """A recorder of a step on a processor, which computes what a GPU only notes, and then undoes it."""

    def undone(function):
        before = [buffer.clone() for buffer in steps.supernet.buffers()]
        made = record(function)
        for buffer, value in zip(steps.supernet.buffers(), before, strict=True):
            buffer.copy_(value)
        return made

    return Recorder(undone)


def addresses(steps):
    """Where everything lies that is there before and after a step."""
    state = [
        value.data_ptr()
        for optimizer in (steps.optimizer, steps.architecture_optimizer)
        for own in optimizer.state.values()
        for value in own.values()
        if isinstance(value, torch.Tensor)
    ]
    known = [*steps.weights, *steps.alphas, *steps.supernet.buffers(), *steps.method.buffers()]
    return [tensor.data_ptr() for tensor in known] + state


def both(overrides):
    """A search that takes every step anew, and the same with a recorder."""
    plain, recorded = (search_steps(overrides, **GPU) for _ in range(2))
    assert unrecordable(recorded.method) is None
    recorded.taken.recorder = recorder_of(recorded)
    return plain, recorded


def run(steps, seed, batches):
    torch.manual_seed(seed)
    steps.weight_batch, steps.architecture_batch = batches
    steps.search()


def assert_equal(plain, recorded):
    for ours, theirs in (
        (plain.weights, recorded.weights),
        (plain.alphas, recorded.alphas),
        (list(plain.supernet.buffers()), list(recorded.supernet.buffers())),
    ):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", RECORDED)
def test_replayed_steps_are_the_steps_bit_by_bit(name):
    plain, recorded = both(RECORDED[name])
    batches = [(plain.weight_batch, plain.architecture_batch), (plain.architecture_batch, plain.weight_batch)]
    for index in range(STEPS):
        for steps in (plain, recorded):
            run(steps, index, batches[index % 2])
        if index == 1:
            places = addresses(recorded)
    assert_equal(plain, recorded)
    # Recorded memory is read and written by its address.
    assert addresses(recorded) == places
    held = recorded.taken.recorder._held
    assert len(held) == (1 if recorded.method.joint else 2)


def test_gradients_lie_where_they_were():
    _, recorded = both(RECORDED["drnas_nb201"])
    places = []
    for index in range(5):
        run(recorded, index, (recorded.weight_batch, recorded.architecture_batch))
        places.append([weight.grad.data_ptr() for weight in recorded.weights if weight.grad is not None])
    assert places[2] == places[3] == places[4]


def test_another_epoch_is_recorded_anew():
    plain, recorded = both(("method=rdarts_dp", "method.update=first_order", *IMAGES))
    for epoch in (0, 40):
        for steps in (plain, recorded):
            steps.method.begin_epoch(epoch, 50)
        recorded.taken.recorder.forget()
        for index in range(4):
            for steps in (plain, recorded):
                run(steps, index, (plain.weight_batch, plain.architecture_batch))
    assert plain.method.rates["drop_path"] > 0
    assert_equal(plain, recorded)


def test_a_smaller_batch_is_taken_as_it_is():
    plain, recorded = both(RECORDED["drnas_nb201"])
    whole = (plain.weight_batch, plain.architecture_batch)
    few = tuple(tuple(part[:3] for part in batch) for batch in whole)
    for index, batches in enumerate((whole, whole, whole, few, whole)):
        for steps in (plain, recorded):
            run(steps, index, batches)
    assert_equal(plain, recorded)


def test_a_generator_that_is_put_back_goes_wrong_here_which_is_why_it_is_refused():
    plain, recorded = (search_steps(("method=rdarts_dp", *IMAGES), **GPU) for _ in range(2))
    recorded.taken.recorder = recorder_of(recorded)
    for steps in (plain, recorded):
        steps.method.begin_epoch(40, 50)
    for index in range(3):
        for steps in (plain, recorded):
            run(steps, index, (plain.weight_batch, plain.architecture_batch))
    assert not all(torch.equal(a, b) for a, b in zip(plain.alphas, recorded.alphas, strict=True))


@pytest.mark.parametrize("planted", ["a number of Python", "a new tensor of Python"])
def test_what_a_graph_would_get_wrong_goes_wrong_here(planted):
    plain, recorded = both(RECORDED["drnas_nb201"])
    for steps in (plain, recorded):
        passes = []

        def hook(module, given, found_BCHW, passes=passes):
            passes.append(1)
            factor = 1 + 0.1 * len(passes)
            return found_BCHW * (factor if planted == "a number of Python" else torch.tensor(factor))

        steps.supernet.stem.register_forward_hook(hook)
    for index in range(STEPS):
        for steps in (plain, recorded):
            run(steps, index, (plain.weight_batch, plain.architecture_batch))
    assert not all(torch.equal(a, b) for a, b in zip(plain.weights, recorded.weights, strict=True))


class Seeded(pl.Callback):
    """Draws of a step begin at the same place in both runs."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        torch.manual_seed(batch_idx)


@pytest.mark.parametrize("name", ["drnas_nb201", "dsonas"])
def test_a_search_by_lightning_with_recorded_steps_is_the_search(name):
    found = []
    for records in (False, True):
        steps = search_steps(SEARCHES[name], **GPU)
        module = search_module(steps.supernet, steps.method, steps.task)
        if records:
            module.search_step.recorder = recorder_of(steps)
        batch = {"weight": steps.weight_batch, "architecture": steps.architecture_batch}
        trainer = pl.Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[Seeded()],
        )  # fmt: skip
        trainer.fit(module, DataLoader([batch] * 4, batch_size=None))
        found.append((module.weights, steps.method.alphas(), trainer.global_step, module.iteration))
    (weights, alphas, *counts), (others, other_alphas, *other_counts) = found
    assert counts == other_counts
    assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(alphas, other_alphas, strict=True))


HARDWARE = {
    "name": "gpu", "accelerator": "gpu", "graph": True, "compile": False, "devices": 1, "num_nodes": 1,
    "memory_gib": None,
}  # fmt: skip
REFUSED = {
    "a processor": ({"accelerator": "cpu"}, r"recorded by a GPU, and hardware\.accelerator=cpu is none"),
    "compiled": ({"compile": True}, r"hardware\.compile=false"),
    "several processes": ({"devices": 2}, r"hardware\.devices=1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_hardware_that_records_nothing_is_refused(case):
    changed, message = REFUSED[case]
    with pytest.raises(ConfigError, match=rf"hardware\.graph=true: .*{message}"):
        check_hardware(HARDWARE | changed, searches=True)
    with pytest.raises(ConfigError, match=r"hardware\.graph=true: the steps of searches alone"):
        check_hardware(HARDWARE | changed)


METHODS = {
    "darts2": r"method\.update=unrolled",
    "milenas": r"method\.update=mixed_level",
    "gdas": r"method=gdas",
    "enas": r"method=enas",
    "oles": r"method\.monitors\.",
    "darts1 method.cost.budget=4000": r"method\.cost\.budget",
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_that_cannot_be_recorded_is_refused_with_its_key(name):
    method = search_steps((*f"method={name}".split(), *IMAGES)).method
    with pytest.raises(ConfigError, match=rf"hardware\.graph=true: .*{METHODS[name]}.*hardware\.graph=false"):
        check_graph(HARDWARE, method, text=False)


def test_a_text_is_refused_and_what_is_off_is_not():
    method = search_steps(SEARCHES["darts1"]).method
    assert unrecordable(method) is None
    check_graph(HARDWARE, method, text=False)
    check_graph(HARDWARE | {"graph": False}, search_steps(SEARCHES["gdas"]).method, text=True)
    with pytest.raises(ConfigError, match="segments of a text differ in length"):
        check_graph(HARDWARE, method, text=True)
