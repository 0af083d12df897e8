"""The step that is timed, planned and weighed is the step that is trained: weights and alphas end equal."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch.utils.data import DataLoader

from nas.data.text_segments import SearchSegment, Segment
from nas.domains.choose import choose
from nas.domains.networks import source_of
from nas.engine.stages import Leg, StageBuilder, attach
from nas.engine.tasks import Classification, Language
from nas.measure.bench_text import text_batch
from nas.measure.operation_times import operation_seconds
from nas.measure.steps import SearchSteps, numerics
from nas.methods.layout import layout_of
from nas.running.config import CONF, instantiate, plain, register_resolvers

IMAGES = (
    "dataset=digits", "space.num_cells=3", "space.num_nodes=2", "space.init_channels=4",
    "method.warmup_epochs=0",
)  # fmt: skip
DSO = (
    "dataset=digits",
    "space=dso_small",
    "space.init_channels=4",
    "method=dsonas",
    "method.warmup_epochs=0",
)
TEXT = ("dataset=wikitext_mini", "space=darts_rnn", "space.hidden_size=8", "space.embedding_size=8")
COMPARED = ("beta_darts", "darts_minus", "fairdarts", "gaea", "milenas", "rdarts_dp", "sdarts_adv",
            "sdarts_rs", "snas")  # fmt: skip
STAGES = "method.stages=[{epochs:1,partial:4,keep:4,freeze:0}]"
METHODS = [
    ("method=darts1", *IMAGES),
    ("method=darts2", *IMAGES),
    ("method=darts2", "method.implicit=exact", *IMAGES),
    ("method=drnas", *IMAGES),
    *((f"method={name}", *IMAGES) for name in COMPARED),
    ("method=enas", "method.update.samples=2", "method.weight_steps=1", *IMAGES),
    ("method=oles", "method.monitors.agreement={threshold: 1, steps: 1}", *IMAGES),
    ("method=drnas", "method.anchor_form=optimizer", "method.architecture_clip=0.01", *IMAGES),
    ("method=drnas", "method.update=joint", "method.clip=0.01", *IMAGES),
    ("method=darts1", "method.update=joint", "method.clip=0.01", *IMAGES),
    ("method=darts1", "method.update=coordinate_descent", *IMAGES),
    ("method=drnas_progressive", STAGES, "trainer.max_epochs=1", *IMAGES),
    ("method.adaptive=none", *DSO),
    ("method.adaptive=flops", *DSO),
    ("method.adaptive=latency", *DSO),
    ("method.update=joint", *DSO),
    ("method=darts1_rnn", *TEXT),
    ("method=darts2_rnn", *TEXT),
    ("method=drnas_rnn", *TEXT),
]


class Seeded(pl.Callback):
    """Draws of a step begin at the same place, whatever Lightning has drawn before."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        torch.manual_seed(5)


@pytest.mark.parametrize("overrides", METHODS, ids=lambda one: " ".join(one[:2]))
def test_the_timed_step_is_the_trained_step(overrides):
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("search", list(overrides))
    space, source = instantiate(config.space), source_of(config)
    inputs, where = choose(space, source).inputs(source), numerics(plain(config.hardware))
    text = space.domain == "text"
    torch.manual_seed(0)
    shapes = {name: group.shape for name, group in space.groups.items()}
    method = instantiate(config.method, shapes=shapes, layout=layout_of(space.groups))
    attach(method, space, inputs)
    if method.wants_times:
        times = {
            cost.piece(row, name).key: 1.0 + row
            for cost in method.costs.values()
            for row, names in enumerate(cost.names_EO)
            for name in names
            if name != "none"
        }
        method.seconds = operation_seconds(method.costs, times)
    task = Language(space.ar, space.tar) if text else Classification()
    if text:
        batches = [text_batch(where, 5, 4, inputs.vocabulary, seed) for seed in (1, 2)]
        segments = (Segment(one.tokens_LB, one.targets_LB, 1.0, True) for one in batches)
        batch = SearchSegment(*segments)
    else:
        batches = [where.batch(8, inputs, seed) for seed in (1, 2)]
        batch = {"weight": batches[0], "architecture": batches[1]}
    module = StageBuilder(space, method, inputs, 0, lambda network: network, task).start(Leg(0, 0, 1))
    supernet, own = copy.deepcopy(module.supernet), copy.deepcopy(method)
    start = [alpha_EO.detach().clone() for alpha_EO in method.alphas()]
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[Seeded()],
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader([batch], batch_size=None))
    steps = SearchSteps(supernet, own, *batches, where, task)
    torch.manual_seed(5)
    steps.search()
    for ours, theirs in zip(steps.alphas, method.alphas(), strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(steps.weights, module.weights, strict=True):
        assert torch.equal(ours, theirs)
    assert any(not torch.equal(a, b) for a, b in zip(start, method.alphas(), strict=True))
