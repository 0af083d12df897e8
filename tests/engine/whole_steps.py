"""The steps of a search as a command composes it, on any device, one that computes nothing included."""

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from nas.domains.choose import choose
from nas.domains.networks import source_of
from nas.engine.machine.execution import apply_execution
from nas.engine.stages import StageBuilder, attach
from nas.engine.tasks import Classification, Language
from nas.measure.bench_text import text_batch
from nas.measure.shapes import on
from nas.measure.steps import SearchSteps
from nas.methods.layout import layout_of
from nas.running.config import CONF, instantiate, plain, register_resolvers

# Sizes at which a step takes tenths of a second.
IMAGES = ("dataset=digits", "space.num_cells=3", "space.num_nodes=2", "space.init_channels=8")
NB201 = ("dataset=digits", "space=nasbench201", "space.cells_per_stage=1", "space.init_channels=4")
DSO = ("dataset=digits", "space=dso_small", "space.init_channels=4")
TEXT = ("dataset=wikitext_mini", "space=darts_rnn", "space.hidden_size=8", "space.embedding_size=8")
ALL = "method.warmup_epochs=0"
STAGES = "method.stages=[{epochs:1,partial:2,keep:null,freeze:0},{epochs:1,partial:2,keep:4,freeze:0}]"
PARTIAL = "method.stages=[{epochs:1,partial:4,keep:null,freeze:0}]"
SEARCHES = {
    "darts1": ("method=darts1", *IMAGES),
    "darts2": ("method=darts2", *IMAGES),
    "drnas_progressive": ("method=drnas_progressive", STAGES, "trainer.max_epochs=2", *IMAGES),
    "gdas": ("method=gdas", *IMAGES),
    "pcdarts": ("method=pcdarts", PARTIAL, "trainer.max_epochs=1", *IMAGES),
    "dsonas": ("method=dsonas", ALL, *DSO),
    "drnas_nb201": ("method=drnas_nb201", *NB201),
    "darts1_rnn": ("method=darts1_rnn", *TEXT),
}


def search_steps(overrides, device="cpu", stage=None, **hardware) -> SearchSteps:
    """The steps of a search.

    Args:
        overrides: as typed.
        device: where.
        stage: of the method's stages the index; None for the last one, with candidates dropped.
        hardware: options of the profile, beside those of a GPU on torch's own operators.
    """
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("search", list(overrides))
    space, source = instantiate(config.space), source_of(config)
    domain = choose(space, source)
    inputs = domain.inputs(source)
    shapes = {name: group.shape for name, group in space.groups.items()}
    torch.manual_seed(0)
    method = instantiate(config.method, shapes=shapes, layout=layout_of(space.groups))
    attach(method, space, inputs)
    text = space.domain == "text"
    task = Language(space.ar, space.tar) if text else Classification()
    stages = StageBuilder(space, method, inputs, 0, lambda network: network, task)
    index = len(method.stages or (None,)) - 1 if stage is None else stage
    for left in range(1, index + 1):
        method.leave(left, space.clean)
    where = on(device)
    options = {"native": False, "wide": False, "recompute": False, "compile": False} | hardware
    supernet = apply_execution(stages.supernet(index).to(where.device), plain(config.hardware) | options)
    if text:
        batches = [text_batch(where, 3, 4, inputs.vocabulary, seed) for seed in (1, 2)]
    else:
        batches = [where.batch(4, inputs, seed) for seed in (1, 2)]
    method.begin_epoch(0, config.trainer.max_epochs)
    return SearchSteps(supernet, method, *batches, where, task)


class Sampled(TorchDispatchMode):
    """Gives the sampler of a Dirichlet, which torch has no shapes of, those that it has."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten._sample_dirichlet.default, torch.ops.aten._dirichlet_grad.default):
            return torch.empty_like(args[0])
        return func(*args, **(kwargs or {}))


class SomePath(TorchFunctionMode):
    """Reads of a mask that has no values: on `meta` the first candidate of every edge, of a fake one all."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is Tensor.tolist and args[0].dtype == torch.bool:
            edges, operations = args[0].shape
            return [[column == 0 for column in range(operations)] for _ in range(edges)]
        if func is Tensor.item and args[0].dtype == torch.bool:  # to which a fake tensor's list comes down
            return True
        return func(*args, **(kwargs or {}))
