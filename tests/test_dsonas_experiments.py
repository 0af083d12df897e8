"""DSO-NAS's experiments: the rows compose to what they say, and the reduced pipeline records what was run."""

import csv
import json
from pathlib import Path

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from experiments import pipeline
from experiments.dsonas import reduced
from experiments.dsonas.figures import draw_all
from experiments.dsonas.record import RANDOM, alive_share, collect, report
from experiments.records import read_summary
from nas.engine.sparsity import SPARSITY
from nas.running.config import CONF, register_resolvers
from nas.spaces.dso.space import DsoSpace

SPACE = {"name": "dso_small", "levels": 2, "blocks_per_stage": [1, 1], "init_channels": 4}


@pytest.fixture
def composed():
    """`composed("search", "experiment=...")` -> config."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda root, *overrides: compose(root, list(overrides))
    GlobalHydra.instance().clear()


def write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def rows(path: Path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def masks(space: DsoSpace, density: float, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    alive = {name: torch.rand(g.shape, generator=generator) < density for name, g in space.groups.items()}
    for name in filter(lambda name: name.startswith("reduce"), alive):
        alive[name][1] = True  # a reduction keeps a branch, as the search's guard sees to
    return space.clean(alive)


def write_search(folder: Path, share: bool, density: float, seed: int = 0, drawn: bool = False) -> None:
    """A finished search's folder, or a draw's, with two epochs on the way from everything to `density`."""
    space = DsoSpace(**SPACE, share=share)
    alive = masks(space, density, seed)
    total = sum(mask_EO.numel() for mask_EO in alive.values())
    left = sum(int(mask_EO.sum()) for mask_EO in alive.values()) / total
    folder.mkdir(parents=True)
    config = {"space": {"_target_": "nas.spaces.dso.DsoSpace", **SPACE, "share": share}}
    config["recipe"] = {"blocks_per_stage": [1, 1], "init_channels": 36}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "genotype.json").write_text(space.derive({k: v.float() for k, v in alive.items()}).to_json())
    summary = {"status": "finished", "params": 90_000, "macs": 1_500_000, "init_channels": 6, "seconds": 120}
    (folder / "summary.json").write_text(json.dumps(summary | {"epochs": 2, "genotype": "DSO(...)"}))
    if drawn:
        write_csv(folder / "metrics.csv", [{"epoch": 0, "num_skip": 0}])
        return
    epochs = [
        {
            "epoch": e,
            "weight_loss": 2.0,
            "architecture_accuracy": 0.3 + e / 10,
            "alive": a,
            "macs_alive": int(1e6 * a),
        }
        for e, a in enumerate((1.0, left))
    ]
    write_csv(folder / "metrics.csv", epochs)
    sparsity = [
        dict(
            zip(
                SPARSITY,
                (epoch, name, int(mask_EO.sum()), mask_EO.numel(), 500, 900, 3.5 - epoch),
                strict=True,
            )
        )
        for epoch in range(2)
        for name, mask_EO in alive.items()
    ]
    write_csv(folder / "sparsity.csv", sparsity)


def write_evaluation(folder: Path, accuracy: float, status: str = "finished") -> None:
    folder.mkdir(parents=True)
    text = json.dumps({"status": status, "test_accuracy": accuracy, "seconds": 60, "epochs": 1})
    (folder / "summary.json").write_text(text)


def chain(folder: Path, mode: str, setting: str, seed: int, accuracy: float):
    path = folder / mode / setting / f"seed{seed}"
    write_search(path / "search", mode == "share", 0.5, seed, drawn=setting == RANDOM)
    write_evaluation(path / "evaluation", accuracy)
    return collect(mode, setting, seed, path)


WRITTEN = {"first_order": "nas.methods.updates.FirstOrder", "joint": "nas.methods.updates.Joint"}


@pytest.mark.parametrize("mode", ["share", "full"])
@pytest.mark.parametrize(
    ("row", "adaptive", "update", "warmup", "ratio", "split", "epochs"),
    [
        ("table3_{}_base", "none", "first_order", 120, 1, 0.5, 240),
        ("table3_{}_no_pretrain", "none", "first_order", 0, 1, 0.5, 120),
        ("table3_{}_4to1", "none", "first_order", 120, 4, 0.8, 240),
        ("table3_{}_joint", "none", "joint", 120, 1, 0.5, 240),
        ("cifar10_{}", "flops", "first_order", 120, 1, 0.5, 240),
        ("imagenet_{}", "flops", "first_order", 30, 4, 0.8, 60),
    ],
)
def test_the_rows_differ_in_what_they_are_about(
    mode, row, adaptive, update, warmup, ratio, split, epochs, composed
):
    config = composed("search", f"experiment=dsonas/{row.format(mode)}")
    method = config.method
    assert config.space.share == (mode == "share")
    assert (method.adaptive, method.warmup_epochs) == (adaptive, warmup)
    assert method["update"] in (update, {"_target_": WRITTEN[update]})
    assert (method.weight_steps, config.dataset.split_ratio) == (ratio, split)
    assert config.trainer.max_epochs == epochs
    imagenet = row.startswith("imagenet")
    assert dict(method.budget) == {"macs": 6e8 if imagenet else None, "params": None if imagenet else 3e6}
    assert method.weight_optimizer.weight_decay == (4e-5 if imagenet else 1e-4)


def test_figure_5_has_no_budget(composed):
    for name, adaptive in (("adaptive", "flops"), ("plain", "none")):
        config = composed("search", f"experiment=dsonas/figure5_{name}")
        assert config.method.adaptive == adaptive and set(config.method.budget.values()) == {None}
        assert config.recipe.init_channels == config.space.init_channels


def test_figure_5_sweeps_gamma(run, monkeypatch):
    """Every job is composed and checked before the first begins; here the first is where it ends."""
    from nas.running import multirun

    found = []
    jobs_of = multirun.planned
    monkeypatch.setattr(multirun, "check_jobs", lambda config: found.extend(jobs_of(config)) or 1 / 0)
    assert run("search", "-m", "experiment=dsonas/figure5_adaptive", "sweep=gamma").status == 1
    gammas = [next(word for word in job if "gamma" in word).partition("=")[2] for job in found]
    assert list(map(float, gammas)) == [3e-4, 1e-3, 3e-3, 1e-2]


def test_the_reduced_evaluation_builds_the_blocks_of_the_reduced_search(composed):
    search = composed("search", "experiment=dsonas/cifar10_reduced")
    evaluation = composed("evaluate", "experiment=dsonas/evaluate_reduced")
    for recipe in (search.recipe, evaluation.recipe):
        assert list(recipe.blocks_per_stage) == list(search.space.blocks_per_stage)
    assert evaluation.dataset.fraction == search.dataset.fraction
    assert evaluation.recipe.epochs == evaluation.recipe.scheduler.T_0


@pytest.mark.parametrize("first_factors", [False, True])
@pytest.mark.parametrize("share", [False, True])
def test_a_genotype_tells_how_many_connections_are_alive(share, first_factors):
    space = DsoSpace(**SPACE, share=share, first_factors=first_factors)
    for seed in range(5):
        alive = masks(space, 0.4, seed)
        total = sum(mask_EO.numel() for mask_EO in alive.values())
        genotype = space.derive({name: mask_EO.float() for name, mask_EO in alive.items()})
        assert alive_share(space, genotype) == sum(int(mask_EO.sum()) for mask_EO in alive.values()) / total


def test_the_record_compares_found_with_random_and_settings_with_the_base(tmp_path):
    runs = [chain(tmp_path, "share", "base", seed, 0.60 + 0.02 * seed) for seed in range(3)]
    runs += [chain(tmp_path, "share", RANDOM, seed, 0.55 + 0.01 * seed) for seed in range(3)]
    runs.append(chain(tmp_path, "share", "joint", 0, 0.59))
    unfinished = tmp_path / "share/base/seed3"
    write_search(unfinished / "search", True, 0.5)
    write_evaluation(unfinished / "evaluation", 0.0, "stopped")
    runs.append(collect("share", "base", 3, unfinished))
    text = report(runs, planned=9)
    assert "7 of 9 networks" in text
    # 62 and 56 on average; variances 4 and 1, of three each.
    assert (
        "| share | 62.00 +- 2.00 (n = 3) | 56.00 +- 1.00 (n = 3) | +6.00 (s.e. 1.29) | 60.00 | 57.00 |"
        in text
    )
    # Table 3: 2.86 % with the split, 3.14 % without.
    assert "| share | no split, pretraining | -3.00 | 1 and 3 | -0.28 |" in text
    assert collect("share", "base", 4, tmp_path / "nothing") is None


def test_the_pictures_of_searches_blocks_and_evaluations(tmp_path):
    runs = [chain(tmp_path, mode, s, 0, 0.5) for mode in ("share", "full") for s in ("base", "joint", RANDOM)]
    names = {path.name for path in draw_all(runs, tmp_path / "pictures")}
    assert names == {path.name for path in (tmp_path / "pictures").glob("*.png")}
    assert names == {
        "sparsity.png", "macs.png", "architecture_accuracy.png", "seconds.png", "blocks.png", "evaluated.png",
    }  # fmt: skip


def test_the_plan_keeps_what_a_setting_is_about():
    words = ["--seeds", "3", "4", "--", "trainer.max_epochs=5", "method.warmup_epochs=2", "space.share=true"]
    chains = reduced.plan(reduced.parse(words))
    assert [(c.seed, *c.place) for c in chains[:4]] == [
        (3, "share", "base"), (3, "share", "no_pretrain"), (3, "share", "joint"), (3, "full", "base"),
    ]  # fmt: skip
    last = dict(word.split("=", 1) for word in chains[1].search)
    assert (last["method.warmup_epochs"], last["trainer.max_epochs"]) == ("0", "3")
    assert dict(word.split("=", 1) for word in chains[3].search)["space.share"] == "false"
    with pytest.raises(SystemExit):
        reduced.parse(["--settings", "joint"])


def test_the_pipeline_draws_as_densely_as_it_found_and_runs_nothing_twice(tmp_path, monkeypatch, capsys):
    started = []

    def step(command, folder, overrides):
        if read_summary(folder):
            return read_summary(folder)
        started.append((command, folder.parent.parent.name, list(overrides)))
        if "nonsense" in overrides:
            raise SystemExit(f"{folder}: refused")
        share = folder.parts[-4] == "share"
        if command == "search":
            write_search(folder, share, 0.5, int(folder.parts[-2][-1]), RANDOM in folder.parts)
        else:
            write_evaluation(folder, 0.5)
        return read_summary(folder)

    monkeypatch.setattr(pipeline, "run_step", step)
    words = ["--folder", str(tmp_path), "--modes", "share", "--settings", "base", "--seeds", "0", "1"]
    reduced.main([*words, "--", "method.gamma=0.5", "method.budget.params=9e4"])
    assert "4 of 4 networks found or drawn" in capsys.readouterr().out
    searches = [overrides for command, _, overrides in started if command == "search"]
    found = [float(rows(tmp_path / f"share/base/seed{n}/search/metrics.csv")[-1]["alive"]) for n in (0, 1)]
    assert f"method.density={sum(found) / 2:.4f}" in searches[-1]
    assert "method.gamma=0.5" in searches[0] and "method.gamma=0.5" not in searches[-1]
    assert all("method.budget.params=9e4" in overrides for overrides in searches)
    evaluation = next(overrides for command, _, overrides in started if command == "evaluate")
    assert {"recipe.init_channels=6", "recipe.blocks_per_stage=[1,1]"} <= set(evaluation)
    before = len(started)
    reduced.main([*words, "--record-only"])
    reduced.main(words)
    assert len(started) == before
    # A search that cannot begin costs no other; without all of them there is no density to draw with.
    other = ["--folder", str(tmp_path / "other"), *words[2:], "--", "nonsense"]
    with pytest.raises(SystemExit, match="no run has finished"):
        reduced.main(other)


def test_a_search_of_the_reduced_protocol_and_its_evaluation(tmp_path, run, monkeypatch):
    """As the pipeline does it, on the digits, in this process."""

    def step(command, folder, overrides):
        done = run(command, f"hydra.run.dir={folder}", *overrides)
        assert (done.status, done.err) == (0, "")
        return read_summary(folder)

    monkeypatch.setattr(pipeline, "run_step", step)
    tiny = ["dataset=digits", "dataset.batch_size=8", "trainer.limit_train_batches=1"]
    words = ["--folder", str(tmp_path), "--seeds", "0", "--modes", "full", "--settings", "no_pretrain"]
    words += ["--no-random", "--evaluation", *tiny, "trainer.limit_test_batches=1", "recipe.epochs=1"]
    search = [*tiny, "space.levels=2", "space.init_channels=2", "trainer.limit_val_batches=1"]
    search += ["trainer.max_epochs=2", "method.warmup_epochs=1", "method.budget.params=2e4"]
    (one,) = reduced.plan(reduced.parse([*words, "--", *search]))
    one.run()
    found = collect("full", "no_pretrain", 0, one.folder)
    assert found.search.finished and found.accuracy is not None
    assert found.search.get("epochs") == 1 and found.search.get("params") <= 2e4
    # The evaluated network is the one that the search priced.
    assert found.evaluation.get("params") == found.search.get("params")
    assert found.alive == pytest.approx(found.search.last["alive"])
