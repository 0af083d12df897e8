"""Small spaces, and steps of a method that conf/ composes in them."""

import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from nas.engine.stages import StageBuilder, attach
from nas.engine.step import Step
from nas.engine.tasks import Classification
from nas.methods.layout import layout_of
from nas.running.config import CONF, instantiate, register_resolvers
from nas.running.parts import compose
from nas.spaces.darts.space import DartsSpace
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.space import ImageInputs

INPUTS = ImageInputs((1, 8, 8), 4)
SPACES = {
    "darts": lambda: DartsSpace(
        "darts", ["none", "max_pool_3x3", "skip_connect", "sep_conv_3x3"], num_nodes=2, num_cells=3,
        init_channels=4,
    ),
    "nasbench201": lambda: NasBench201Space("nasbench201", cells_per_stage=1, init_channels=4),
}  # fmt: skip


def step_of(method, space, *overrides):
    """A step of a method that conf/ composes in a space, in double precision, its optimisers built."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("search", [f"method={method}", "trainer.max_epochs=20", *overrides])
    torch.manual_seed(0)
    shapes = {name: group.shape for name, group in space.groups.items()}
    built = instantiate(config.method, shapes=shapes, layout=layout_of(space.groups)).double()
    stages = StageBuilder(space, attach(built, space, INPUTS), INPUTS, 0, lambda network: network)
    stages.check()
    step = Step(stages.supernet(0).double(), built, Classification())
    step.build_optimizers()
    return step


def batch(seed=0):
    torch.manual_seed(seed)
    return torch.randn(6, 1, 8, 8).double(), torch.randint(0, 4, (6,))


def twins(space):
    """The same network with candidates that share tensors over edges, and with candidates of their own."""
    torch.manual_seed(0)
    shared, separate = space.supernet(INPUTS).double(), space.supernet(INPUTS, separate=True).double()
    state = separate.state_dict()
    for name, value in shared.state_dict().items():
        if name in state:
            state[name] = value
            continue
        place, _, tensor = name.partition(".candidates.")
        operation = tensor.partition(".")[0]
        edges = shared.get_submodule(place).holders[operation]
        for position, edge in enumerate(edges):
            own = value[position : position + 1] if len(value) == len(edges) else value
            state[f"{place}.edges.{edge}.candidates.{tensor}"] = own
    separate.load_state_dict(state)
    return shared, separate
