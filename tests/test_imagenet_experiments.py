"""ImageNet's experiments: rows compose to the papers' protocol, the reduced pipeline records what ran."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import OmegaConf

from experiments.imagenet import reduced
from experiments.imagenet.record import collect, report, rows_of
from nas.genotype import load
from nas.running.config import CONF, register_resolvers
from tests.methods.flat import flat_method


@pytest.fixture
def composed():
    """`composed("search", "experiment=...")` -> config."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda root, *overrides: compose(root, list(overrides))
    GlobalHydra.instance().clear()


@pytest.mark.parametrize(
    ("row", "in_all", "epochs", "rate", "hue"),
    [
        ("darts/evaluate_imagenet", 128, 250, 0.1, 0.2),
        ("drnas/evaluate_imagenet", 768, 250, 0.5, 0.2),
        ("dsonas/evaluate_imagenet", 1024, 240, 0.5, 0.0),
        ("dsonas/imagenet_transfer", 1024, 240, 0.5, 0.0),
    ],
)
def test_evaluations_are_the_papers(row, in_all, epochs, rate, hue, composed):
    hardware = "gpu" if row.startswith("darts") else "ddp8"
    config = composed("evaluate", f"experiment={row}", f"hardware={hardware}")
    assert config.dataset.batch_size * config.hardware.devices == in_all
    assert (config.trainer.max_epochs, config.recipe.optimizer.lr) == (epochs, rate)
    assert list(config.dataset.source.color_jitter) == [0.4, 0.4, 0.4, hue]
    recipe = config.recipe
    assert (recipe.label_smoothing, recipe.drop_path, recipe.auxiliary_weight) == (0.1, 0.0, 0.4)
    assert config.dataset.cutout == 0 and config.dataset.fraction == 1 and config.dataset.valid == 0
    assert config.budget.macs == (6e8 if row.startswith("dsonas") else None)


@pytest.mark.parametrize(
    ("row", "in_all", "rate"),
    [
        ("drnas/imagenet_search", 512, 0.5),
        ("drnas/imagenet_pcdarts", 1024, 0.5),
        ("drnas/imagenet_proxyless", 256, 0.025),
        ("dsonas/imagenet_share", 256, 0.1),
    ],
)
def test_searches_are_the_papers(row, in_all, rate, composed):
    config = composed("search", f"experiment={row}", "hardware=ddp8")
    assert config.dataset.batch_size * config.hardware.devices == in_all
    assert config.method.weight_optimizer.lr == rate
    kept = 0.961 if row == "drnas/imagenet_proxyless" else 0.8
    assert (config.dataset.split, config.dataset.split_ratio) == ("stratified", kept)


@pytest.mark.parametrize("row", ["drnas/imagenet_search", "drnas/imagenet_reduced"])
def test_the_reduced_search_has_the_papers_stages(row, composed):
    config = composed("search", f"experiment={row}")
    stages = [(s.epochs, s.partial, s.keep, s.freeze) for s in config.method.stages]
    assert stages == [(25, 6, None, 10), (25, 3, 4, 10)]
    assert (config.method.architecture_clip, config.method.weight_scheduler.warmup) == (5.0, 5)
    assert (config.method.architecture_optimizer.lr, config.method.lam) == (6e-3, 1e-3)
    assert "none" not in config.space.operations and config.space.stem == "imagenet"
    assert config.dataset.source.color_jitter is None


def test_searches_on_the_small_network_are_of_one_stage(composed):
    """GAEA's and DrNAS's take PC-DARTS's for what they do not say."""
    theirs, gaea, ours = (
        composed("search", f"experiment=drnas/imagenet_{name}")
        for name in ("pcdarts", "gaea_pcdarts", "small_search")
    )
    assert gaea.space == theirs.space and gaea.dataset == theirs.dataset == ours.dataset
    assert (theirs.space.num_cells, theirs.space.init_channels, len(theirs.space.operations)) == (8, 16, 8)
    assert [*ours.space.operations] == [*theirs.space.operations][1:]
    for config, freeze, rate in ((theirs, 35, 6e-3), (gaea, 0, 0.1), (ours, 35, 6e-3)):
        assert config.method.stages == [{"epochs": 50, "partial": 2, "keep": None, "freeze": freeze}]
        assert config.method.architecture_optimizer.lr == rate and config.method.warmup_epochs == 0
        assert config.method.weight_scheduler._target_ == "nas.engine.rates.cosine_with_warmup"


def authors_rates():
    """The learning rates of their script, step by step: base 0.5, 5 warm-up epochs, two stages of 25."""
    parameters, found = [torch.nn.Parameter(torch.zeros(1))], []
    optimizer = torch.optim.SGD(parameters, 0.5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50.0, eta_min=0.0)
    for epoch in range(50):
        if epoch == 25:
            position = scheduler.state_dict()
            optimizer = torch.optim.SGD(parameters, 0.5)
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50.0, eta_min=0.0)
            scheduler.load_state_dict(position)
        if epoch < 5:
            optimizer.param_groups[0]["lr"] = 0.5 * (epoch + 1) / 5.0
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_the_search_has_the_authors_rate_in_every_epoch(composed):
    """As configured, with the change of stage, against their script written down; and in numbers."""
    config = composed("search", "experiment=drnas/imagenet_search")
    settings = {
        key: instantiate(config.method[key], _convert_="all")
        for key in ("weight_optimizer", "weight_scheduler")
    }
    stages = OmegaConf.to_container(config.method.stages)
    rule = config.method.learning_rate_at_stage
    method = flat_method("m", {"cell": (2, 7)}, stages=stages, learning_rate_at_stage=rule, **settings)
    found, schedule = [], None
    for epoch in range(config.trainer.max_epochs):
        if epoch in (0, 25):
            optimizer = method.weight_optimizer([torch.nn.Parameter(torch.zeros(1))])
            schedule = (
                method.stage_scheduler(optimizer, schedule) if epoch else method.weight_scheduler(optimizer)
            )
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert found == pytest.approx(authors_rates(), rel=1e-12)
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found[25] == 0.5  # and not 0.25
    closed = [0.25 * (1 + math.cos(math.pi * e / 50)) for e in range(50)]
    assert [found[e] / closed[e] for e in range(5, 25)] == pytest.approx([1.01596] * 20, abs=1e-4)
    assert [found[e] / closed[e] for e in range(25, 50)] == pytest.approx([2.0] * 25)


def test_the_reduced_row_keeps_the_rates_of_its_results(composed):
    config = composed("search", "experiment=drnas/imagenet_reduced")
    assert config.method.learning_rate_at_stage == "continuous"
    assert config.method.weight_scheduler._target_ == "nas.engine.rates.cosine_with_warmup"


def test_the_random_cell_is_of_the_space_of_the_search(composed):
    search = composed("search", "experiment=drnas/imagenet_reduced")
    drawn = composed("search", "experiment=drnas/imagenet_reduced_random")
    assert drawn.space == search.space and drawn.recipe == search.recipe


def write_run(folder: Path, summary: dict, rows: list[dict]) -> None:
    folder.mkdir(parents=True)
    (folder / "genotype.json").write_text(load("DARTS_V2", "darts").to_json())
    (folder / "summary.json").write_text(json.dumps(summary))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_chain(root: Path, kind: str, seed: int, accuracy: float, status: str = "finished") -> None:
    """A search or a draw of two epochs, and an evaluation of two."""
    path = root / kind / f"seed{seed}"
    if kind == "found":
        epochs = [
            {"epoch": e, "weight_loss": 2.0, "weight_accuracy": 0.2, "architecture_accuracy": 0.1 + e / 10}
            | {"normal_entropy": 1.9 - e, "reduce_entropy": 1.8 - e}
            for e in range(2)
        ]
        write_run(path / "search", {"status": "finished", "epochs": 2, "seconds": 600}, epochs)
    elif kind == "random":
        write_run(path / "search", {"status": "finished", "epochs": 0}, [{"epoch": 0, "num_skip": 1}])
    epochs = [{"epoch": e, "train_accuracy": 0.3, "valid_accuracy": 0.2 + e / 10} for e in range(2)]
    summary = {"status": status, "test_accuracy": accuracy, "params": 400_000, "macs": 5_000_000}
    write_run(path / "evaluation", summary | {"epochs": 2, "seconds": 300}, epochs)


def test_the_record_compares_what_has_finished(tmp_path, capsys):
    for seed, (found, random) in enumerate([(0.40, 0.35), (0.44, 0.37)]):
        write_chain(tmp_path, "found", seed, found)
        write_chain(tmp_path, "random", seed, random)
    write_chain(tmp_path, "published", 0, 0.9, status="stopped")
    reduced.main(["--folder", str(tmp_path), "--record-only"])
    text = (tmp_path / "results" / "reduced.md").read_text()
    assert text.startswith("4 of 6 cells evaluated.")
    # 42 and 36 on average; variances 8 and 2, of two each.
    assert "+6.00 points (standard error 2.24, from the spread of both); n = 2 and 2" in text
    assert "| found by the search | 42.00 +- 2.83 (n = 2) |" in text
    with (tmp_path / "results" / "reduced.csv").open(newline="") as file:
        rows = {(row["kind"], row["seed"]): row for row in csv.DictReader(file)}
    assert rows["published", "0"]["test_accuracy"] == ""
    assert float(rows["found", "1"]["search_architecture_accuracy"]) == pytest.approx(20)
    drawn = {path.name for path in (tmp_path / "results").glob("*.png")}
    assert drawn == {"search.png", "evaluation.png", "tested.png", "cell_seed0.png", "cell_seed1.png"}


def test_one_seed_has_no_spread(tmp_path):
    write_chain(tmp_path, "found", 0, 0.4)
    write_chain(tmp_path, "random", 0, 0.5)
    runs = [collect(kind, 0, tmp_path / kind / "seed0") for kind in ("found", "random")]
    assert "-10.00 points; n = 1 and 1" in report(runs, 2)
    assert collect("found", 1, tmp_path / "found" / "seed1") is None
    assert [row["search_seconds"] for row in rows_of(runs)] == [600, None]


def test_the_chains_are_those_of_the_command_line(tmp_path):
    words = ["--seeds", "3", "4", "--kinds", "found", "random", "enlarged", "--folder", str(tmp_path)]
    words += ["--evaluation", "trainer.max_epochs=1", "--", "method.lam=0", "trainer.max_epochs=2"]
    chains = reduced.plan(reduced.parse(words))
    places = [(*chain.place, chain.seed) for chain in chains]
    assert places == [("found", 3), ("random", 3), ("found", 4), ("random", 4), ("enlarged", 3)]
    found, random, enlarged = chains[0], chains[1], chains[-1]
    assert found.evaluations["evaluation"][-1] == f"genotype={tmp_path}/found/seed3/search"
    assert "method.lam=0" in found.search and "method.lam=0" not in random.search
    assert not enlarged.search and enlarged.evaluations["evaluation"][-1] == "genotype=DrNAS_imagenet"
    assert "dataset.source.image_size=224" in enlarged.evaluations["evaluation"]


def test_chains_compose(composed, tmp_path):
    words = ["--seeds", "0", "--kinds", "found", "random", "enlarged", "--folder", str(tmp_path)]
    for chain in reduced.plan(reduced.parse(words)):
        if chain.search:
            composed("search", *chain.search)
        config = composed("evaluate", *chain.evaluations["evaluation"])
        assert config.trainer.max_epochs == (12 if chain.place == ("enlarged",) else 50)
