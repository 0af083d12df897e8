"""Every way of taking a step takes the same ones, and what they add up to is right. No time is asserted."""

import pytest
import torch

from nas.data.digits import Digits
from nas.engine.data_module import SearchData, search_split
from nas.engine.search_module import SearchModule
from nas.engine.tasks import Classification
from nas.errors import ConfigError
from nas.measure.bench_loop import Loops, Passage, measure_loop, relate_loop
from nas.measure.steps import SearchSteps, apply_hardware, numerics
from nas.methods.layout import layout_of
from nas.spaces.darts.space import DartsSpace
from nas.spaces.space import ImageInputs
from tests.methods.flat import flat_method

HARDWARE = {
    "name": "cpu",
    "accelerator": "cpu",
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
    "precision": "32-true",
    "deterministic": False,
    "benchmark": False,
    "channels_last": True,
    "compile": False,
    "native": False,
    "wide": False,
    "recompute": False,
}
SPACE = DartsSpace("darts", ["none", "skip_connect", "avg_pool_3x3"], num_cells=3, init_channels=2)
EPOCH_STEPS = 12


def method_of(warmup_epochs=0):
    torch.manual_seed(3)
    return flat_method(
        "toy",
        {name: group.shape for name, group in SPACE.groups.items()},
        warmup_epochs=warmup_epochs,
        layout=layout_of(SPACE.groups),
        weight_optimizer=lambda p: torch.optim.SGD(p, 0.025),
        weight_scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 1),
        architecture_optimizer=lambda p: torch.optim.Adam(p, 0.01),
    )


def network():
    torch.manual_seed(0)
    return apply_hardware(SPACE.supernet(ImageInputs(Digits.image_shape, Digits.num_classes)), HARDWARE)


def loops_of(folder, num_steps=3, batch_size=64, warmup_epochs=0, **hardware):
    source = Digits()
    # Augmentation draws from the process's one generator; without it batches can be compared.
    augment = {"pad": 0, "flip": False}
    data = SearchData(
        source, batch_size, 5, augment, split=search_split(source, "stratified", 0.5, 1.0, seed=0)
    )
    data.prepare()
    where = numerics(HARDWARE)
    noise = where.batch(4, ImageInputs(source.image_shape, source.num_classes), 1)
    steps = SearchSteps(network(), method_of(), noise, noise, where)
    module = SearchModule(network(), method_of(warmup_epochs), Classification())
    return Loops(steps, module, data, SPACE, HARDWARE | hardware, folder, num_steps, seed=5)


def test_by_hand_and_through_lightning_the_same_batches_come(tmp_path):
    loops = loops_of(tmp_path)
    by_hand, lightning = [], []
    step, training_step = loops._step, loops.module.training_step

    def spy_step(weight_batch, architecture_batch):
        by_hand.append((weight_batch, architecture_batch))
        step(weight_batch, architecture_batch)

    def spy_training_step(batch, batch_idx):
        lightning.append((batch["weight"], batch["architecture"]))
        training_step(batch, batch_idx)

    loops._step, loops.module.training_step = spy_step, spy_training_step
    loops.run(recorded=False)
    fixed = by_hand[0]
    loader = [pair for pair in by_hand if pair is not fixed and pair[0] is not fixed[0]]
    assert (len(lightning), len(loader), len(by_hand)) == (3, 3, 6)
    # The first pair of the epoch is the fixed one, so the loader's are one ahead.
    for ours, theirs in zip([fixed, *loader], lightning, strict=False):
        for (images, labels), (their_images, their_labels) in zip(ours, theirs, strict=True):
            assert torch.equal(images, their_images) and torch.equal(labels, their_labels)


def test_all_ways_train_weights_and_alpha(tmp_path):
    loops = loops_of(tmp_path)
    before = [
        [p.clone() for p in (*holder.weights, *holder.method.alphas())]
        for holder in (loops.steps, loops.module)
    ]
    loops.run(recorded=False)
    for start, holder in zip(before, (loops.steps, loops.module), strict=True):
        weights, alphas = len(holder.weights), holder.method.alphas()
        assert any(not torch.equal(a, b) for a, b in zip(start, holder.weights, strict=False))
        assert all(not torch.equal(a, b) for a, b in zip(start[weights:], alphas, strict=True))


def test_only_the_recorded_passage_writes_and_both_clean_up(tmp_path, monkeypatch):
    seen = {}

    def look(loops, folder):
        seen["files"] = {path.name for path in folder.path.rglob("*") if path.is_file()}
        return 0.25

    monkeypatch.setattr(Loops, "_draw", look)
    loops = loops_of(tmp_path)
    assert loops.run(recorded=False).pictures == 0.0 and not seen
    assert loops.run(recorded=True).pictures == 0.25
    files = {"metrics.csv", "architecture.csv", "genotype.json", "summary.json", "epoch=0001.ckpt"}
    assert files <= seen["files"]
    assert list(tmp_path.iterdir()) == []


def test_every_number_has_its_spread(tmp_path, monkeypatch):
    monkeypatch.setattr(Loops, "_draw", lambda loops, folder: 0.25)
    found = measure_loop(loops_of(tmp_path), rounds=1, max_epochs=50)
    assert (found["loop_steps"], found["epoch_steps"]) == (3, EPOCH_STEPS)
    # The first step of a passage lacks what comes between two steps; two passages a round.
    assert found["loop_lightning_seconds"]["n"] == found["loop_bare_seconds"]["n"] == 2 * (3 - 1)
    assert (found["loader_overhead"]["n"], found["loop_overhead"]["n"]) == (2, 1)
    assert found["pictures_seconds"]["min"] == 0.25 and found["epoch_seconds"] > 0


def test_what_is_paid_once_is_shared_by_the_whole_epoch():
    plain = Passage([1.0, 2.0], [1.5, 3.0], [1.65, 3.3], loader_once=3.0, lightning_once=12.0)
    recorded = Passage([1.0, 2.0], [1.5, 3.0], [1.65, 3.3], 3.0, lightning_once=22.0, pictures=50.0)
    found = relate_loop([plain], [recorded], num_steps=2, epoch_steps=100, max_epochs=10)
    assert found["loader_overhead"]["median"] == pytest.approx(0.5 + 3 / 150)
    assert found["loop_overhead"]["median"] == pytest.approx(0.1 + (12 - 3) / 225)
    assert found["record_seconds_per_epoch"]["median"] == 10.0
    assert found["epoch_seconds"] == pytest.approx(100 * 2.475 + 12)
    # Ten epochs share the pictures.
    assert found["record_overhead"]["median"] == pytest.approx((10 + 5) / (247.5 + 12))
    assert found["record_overhead_measured"]["median"] == pytest.approx((10 + 5) / (2 * 2.475 + 12))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"num_steps": 2}, "bench.loop_steps=2"),
        ({"batch_size": 400}, "dataset.batch_size"),
        ({"devices": 2}, "hardware.devices=2"),
        ({"warmup_epochs": 1}, "method.warmup_epochs"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, wrong, words):
    with pytest.raises(ConfigError, match=words):
        loops_of(tmp_path, **wrong)
