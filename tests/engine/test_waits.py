"""A step gives a GPU nothing to wait for: shown without one, and red for every way in which it would wait."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from nas.measure.waits import DeviceWatch, counters
from tests.engine.whole_steps import SEARCHES, Sampled, SomePath, search_steps

GPU = {"wide": True, "recompute": True}  # the options of the profile
WAYS = {"narrow": {}, "gpu": GPU}
# Which candidates are run, the host decides: one look a group and pass. There are two groups.
LOOKS = "nas/spaces/supernet/scales.py"


def watched(name, device, **hardware):
    """The reasons to wait in the second step of weights and alpha; the first one fills optimisers' states."""
    steps = search_steps(SEARCHES[name], device, **hardware)
    with Sampled(), SomePath():
        steps.search()
        with DeviceWatch(device, counters(steps.optimizer, steps.architecture_optimizer)) as watch:
            steps.search()
    looks = "tolist" if name == "gdas" else "none"
    return [wait for wait in watch.found if looks not in wait.operator], watch


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SEARCHES)
def test_a_step_of_weights_and_alpha_reads_nothing_back(name, way):
    waits, _ = watched(name, "cpu", **WAYS[way])
    assert not waits, "\n".join(map(str, waits))


@pytest.mark.parametrize("name", SEARCHES)
def test_a_whole_step_stays_on_its_device(name):
    # Nothing is computed on `meta`, so a tensor of another device cannot come from it by chance.
    waits, _ = watched(name, "meta", **GPU)
    assert not waits, "\n".join(map(str, waits))


def test_one_drawn_path_is_read_once_a_group_and_pass():
    _, watch = watched("gdas", "cpu", **GPU)
    passes, groups = 2, 2
    assert len(watch.found) == passes * groups
    assert all(wait.place.startswith(LOOKS) for wait in watch.found)


@pytest.fixture
def overwritten():
    """Modules get new parameters where they go to another device: a fake one has no storage to share."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    yield
    torch.__future__.set_overwrite_module_params_on_conversion(False)


def moved(batch, device):
    """A batch on a device."""
    if isinstance(batch, tuple):
        return tuple(part.to(device) for part in batch)
    batch.tokens_LB, batch.targets_LB = batch.tokens_LB.to(device), batch.targets_LB.to(device)
    return batch


def on_fake_gpu(name, spoil=lambda steps: None, **hardware):
    """The reasons to wait in a second forward pass on a GPU that is not there."""
    steps = search_steps(SEARCHES[name], **hardware)
    spoil(steps)
    # The backward pass asks for streams of a GPU, so a forward pass is what can be had.
    with FakeTensorMode(allow_non_fake_inputs=True), Sampled(), SomePath():
        steps.supernet.to("cuda")
        steps.method.to("cuda")
        batch = moved(steps.weight_batch, "cuda")
        steps.taken.forward(batch)
        with DeviceWatch("cuda") as watch:
            loss = steps.taken.forward(batch)
    assert loss.device.type == "cuda"
    return [wait for wait in watch.found if "TensorBase.tolist" not in wait.operator]


@pytest.mark.parametrize("name", SEARCHES)
def test_a_forward_pass_of_fake_cuda_tensors_stays_there(name, overwritten):
    waits = on_fake_gpu(name, **GPU)
    assert not waits, "\n".join(map(str, waits))


def plant(steps, act):
    """Has the stem do something for which a GPU would be waited for, in every pass."""

    def hook(module, given, found_BCHW):
        act(found_BCHW)

    steps.supernet.stem.register_forward_hook(hook)


READS = {
    "item": lambda x: x.mean().item(),
    "bool": lambda x: bool((x > 0).any()),
    "float": lambda x: float(x.detach().sum()),
    "nonzero": lambda x: x.nonzero(),
    "mask as an index": lambda x: x[x > 0],
    "assignment by a mask": lambda x: x.detach().clone().__setitem__(x > 0, torch.zeros(1)),
    "masked_select": lambda x: x.masked_select(x > 0),
    "tolist": lambda x: x.detach().flatten()[:2].tolist(),
    "numpy": lambda x: x.detach().numpy(),
    "unique": lambda x: x.detach().unique(),
    "equal": lambda x: torch.equal(x, x),
    "a list as an index": lambda x: x[[0, 1]],
    "numbers made a tensor": lambda x: torch.tensor([1.0, 2.0]),
    "a scalar copied": lambda x: torch.tensor(1.0, device=x.device),
}
STRAYS = {
    "made on the host": lambda x: torch.zeros(3) + 1,
    "copied to the host": lambda x: x.to("cpu", copy=True) if not x.is_meta else torch.empty(2).to(x.device),
    "a scalar copied": lambda x: torch.tensor(1.0).to(x.device),
    "a constant of the host": lambda x: x.new_empty(3).copy_(torch.ones(3)),
}


@pytest.mark.parametrize("what", READS)
def test_a_new_read_in_a_step_is_found(what):
    steps = search_steps(SEARCHES["drnas_nb201"])
    plant(steps, READS[what])
    with DeviceWatch("cpu") as watch:
        steps.forward_weight()
    assert watch.found, what


@pytest.mark.parametrize("what", STRAYS)
def test_a_new_stray_tensor_in_a_step_is_found(what, overwritten):
    steps = search_steps(SEARCHES["drnas_nb201"], "meta", **GPU)
    with Sampled():
        steps.forward_weight()
    plant(steps, STRAYS[what])
    with Sampled(), DeviceWatch("meta") as watch:
        steps.forward_weight()
    assert watch.found, what
    assert on_fake_gpu("drnas_nb201", lambda steps: plant(steps, STRAYS[what]), **GPU), what


def test_what_waits_is_named_with_its_line():
    steps = search_steps(SEARCHES["darts1"])
    steps.search()
    # Without the exception for counts of steps, which rest on the host, Adam's would be one.
    with DeviceWatch("cpu") as watch:
        steps.architecture()
    assert {wait.reason for wait in watch.found} == {"the host reads a value"}
    assert "_local_scalar_dense" in str(watch.found[0]) and "nas/" in watch.found[0].place
