"""DSO-NAS as a user types it: search, resume, evaluate, random networks, other spaces, bad input."""

import csv
import filecmp
import json
import shlex
import shutil

import pytest

SMALL = (
    "space=dso_small",
    "space.levels=2",
    "space.init_channels=2",
    "dataset=digits",
    "dataset.batch_size=64",
    "recipe=dso_cifar10",
    "recipe.blocks_per_stage=[1,1,1]",
    "recipe.init_channels=4",
    "recipe.auxiliary_weight=0",
    "trainer.limit_train_batches=4",
    "trainer.limit_val_batches=1",
)
SEARCH = (
    "method=dsonas",
    "method.warmup_epochs=1",
    "method.prune_every=1",
    "method.gamma=1.0",
    "trainer.max_epochs=4",
)


def search(run, folder, *overrides):
    done = run("search", *SMALL, *overrides, f"hydra.run.dir={folder}")
    assert (done.status, done.err) == (0, "")
    return json.loads((folder / "summary.json").read_text())


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("share", [pytest.param("true", marks=pytest.mark.pictures), "false"])
def test_a_search_gets_sparser_and_its_network_is_evaluated_within_the_budget(run, tmp_path, share):
    folder = tmp_path / "search"
    found = search(run, folder, *SEARCH, f"space.share={share}", "method.budget.params=20000")
    metrics = rows(folder / "metrics.csv")
    alive = [float(row["alive"]) for row in metrics]
    assert alive[0] == 1 and alive == sorted(alive, reverse=True) and alive[-1] < 0.9
    groups = {row["group"] for row in rows(folder / "sparsity.csv")}
    blocks = {"block"} if share == "true" else {"block_01", "block_02", "block_03"}
    assert groups == blocks | {"reduce_1", "reduce_2"}
    assert found["params"] <= 20_000 and found["budget_params"] == 20_000
    assert found["genotype"].startswith("DSO(block")
    pictures = {path.name for path in (folder / "figures").iterdir()}
    assert {"genotype.png", "factors.png", "curves.png", "sparsity.png"} <= pictures
    width = f"recipe.init_channels={found['init_channels']}"
    sizes = (f"genotype={folder}", width, "trainer.max_epochs=1", f"space.share={share}")
    evaluated = tmp_path / "evaluation"
    done = run("evaluate", *SMALL[:-1], *sizes, f"hydra.run.dir={evaluated}")
    assert (done.status, done.err) == (0, "")
    summary = json.loads((evaluated / "summary.json").read_text())
    assert (summary["params"], summary["macs"]) == (found["params"], found["macs"])
    assert 0 <= summary["test_accuracy"] <= 1


@pytest.mark.parametrize("adaptive", ["flops", "latency"])
def test_a_stopped_search_goes_on_bit_by_bit_through_its_rebuilds(run, tmp_path, adaptive):
    whole = tmp_path / "whole"
    found = search(
        run, whole, *SEARCH, f"method.adaptive={adaptive}", "space.share=false", "checkpoint.keep=4"
    )
    for end in (1, 2, 3):
        # As it lay there when so many epochs were done.
        parts = tmp_path / f"parts{end}"
        shutil.copytree(whole, parts)
        for later in range(end + 1, 5):
            (parts / f"checkpoints/epoch={later:04d}.ckpt").unlink()
        (parts / "summary.json").write_text(json.dumps(found | {"status": "running"}))
        done = run("search", f"resume={parts}")
        assert (done.status, done.err) == (0, "")
        for name in ("metrics.csv", "architecture.csv", "genotype.json"):
            assert filecmp.cmp(whole / name, parts / name, shallow=False), name


def test_random_networks_are_drawn_by_seed_and_meet_the_budget_too(run, tmp_path):
    found = [
        search(
            run,
            tmp_path / f"{index}",
            "method=dsonas_random",
            "method.density=0.4",
            "method.budget.macs=200000",
            f"seed={seed}",
        )
        for index, seed in enumerate((0, 0, 1))
    ]
    assert found[0]["genotype"] == found[1]["genotype"] != found[2]["genotype"]
    assert all(one["macs"] <= 200_000 and one["epochs"] == 0 for one in found)


@pytest.mark.parametrize("space", ["darts", "nasbench201"])
@pytest.mark.parametrize("update", ["first_order", "joint"])
def test_scaling_factors_in_other_spaces(run, tiny, tmp_path, space, update):
    given = ("method=dsonas", f"space={space}", "method.warmup_epochs=0", "method.gamma=1")
    if space == "nasbench201":
        # Whose networks have no such sizes.
        tiny = [word for word in tiny if not word.startswith(("recipe.", "space.num_nodes"))]
    done = run(
        "search",
        *given,
        *tiny,
        f"method.update={update}",
        "method.prune_every=1",
        "trainer.max_epochs=2",
        f"hydra.run.dir={tmp_path}",
    )
    assert (done.status, done.err) == (0, "")
    first, last = rows(tmp_path / "metrics.csv")
    assert float(last["alive"]) < float(first["alive"]) + 1e-9
    split = json.loads((tmp_path / "split.json").read_text())
    assert (split["weight"] == split["architecture"]) == (update == "joint")


@pytest.mark.parametrize("method", ["drnas", "darts1", "random"])
def test_distributions_over_one_candidate_say_why_they_mean_nothing(run, tmp_path, method):
    done = run("search", f"method={method}", "space=dso_small", f"hydra.run.dir={tmp_path}")
    assert done.status == 2
    assert "one candidate per edge" in done.err and "method=dsonas" in done.err


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("method.adaptive=flop", "method.adaptive=flop: unknown"),
        ("method.weight_steps=0", "method.weight_steps=0"),
        ("method.update=unrolled", "method.update=unrolled"),
        ("method.budget.params=-1", "method.budget.params=-1"),
        ("space.partial=2", "space.partial"),
        ("space.levels=0", "space.levels=0"),
        ("space.operations=[sep_conv_4x4]", "sep_conv_4x4"),
        ("space.blocks_per_stage=[1,0,1]", "space.blocks_per_stage"),
        ("method.architecture_optimizer.momentum=1", "method.architecture_optimizer.momentum=1"),
        ("method.architecture_optimizer._target_=torch.optim.SGD", "nonnegative"),
        ("recipe=digits method.budget.params=3e6", "method.budget: recipe digits does not size"),
        ("method.warmup_epochs=120", "method.warmup_epochs=120: the architecture would never move"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(run, tmp_path, override, words):
    folder = tmp_path / "run"
    given = ("method=dsonas", "space=dso_small", "recipe=dso_cifar10", "recipe.auxiliary_weight=0")
    given += ("method.warmup_epochs=1",)
    done = run("search", *given, *override.split(), f"hydra.run.dir={folder}")
    assert done.status == 2 and words in done.err
    assert not (folder / "summary.json").exists()


def test_an_unreachable_budget_does_not_cost_the_search(run, tmp_path):
    done = run("search", *SMALL, *SEARCH, "method.budget.params=10", f"hydra.run.dir={tmp_path}")
    assert done.status == 0 and "below the narrowest network" in done.err + done.out
    found = json.loads((tmp_path / "summary.json").read_text())
    assert (found["status"], found["budget_met"]) == ("finished", False)


def test_the_printed_evaluation_can_be_typed(run, tmp_path):
    """A recipe of another space leaves the sizes to the space, whose lists Hydra has to read again."""
    given = [word for word in SMALL if not word.startswith("recipe")]
    done = run("search", *given, "method=dsonas_random", f"hydra.run.dir={tmp_path}")
    line = next(line for line in done.out.splitlines() if line.startswith("evaluate:"))
    words = shlex.split(line.partition("nas.evaluate")[2])
    assert run("evaluate", *words, "--cfg", "job").status == 0
