"""`nas.derive`: what it draws keeps the budget, costs what `nas.cost` says, and can be evaluated."""

import csv
import json
import math
import re
import shutil

import pytest
import torch
from omegaconf import OmegaConf

from nas.analysis.sampling import one_hot
from nas.data.sources import TensorImages
from nas.data.split import Split
from nas.genotype import load
from nas.measure.inheritance import Inheritance
from nas.running.config import CONF, plain
from nas.spaces.darts.space import DartsSpace
from nas.spaces.space import ImageInputs

FILES = ["architectures.csv", "genotype.json", "figures/pareto.png", "figures/genotype.png", "summary.json"]
OPERATIONS = "space.operations=[none,skip_connect,sep_conv_3x3]"
SIZES = ("space.num_cells=3", "space.init_channels=4", "recipe.num_cells=3", "recipe.init_channels=4")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("searched")


@pytest.fixture
def searched(run, tiny, place):
    """The folder of a search of two steps, the same for all tests."""
    folder = place / "darts"
    if not folder.exists():
        done = run("search", *tiny, *SIZES, OPERATIONS, f"hydra.run.dir={folder}")
        assert (done.status, done.err) == (0, "")
    return folder


@pytest.fixture
def derive(run, searched, tmp_path):
    """`derive("out", ...) -> (Done, folder)`, from that search with few draws."""

    def call(name, *overrides, source=searched):
        folder = tmp_path / name
        done = run("derive", f"run={source}", "samples=300", "keep=1", *overrides, f"hydra.run.dir={folder}")
        return done, folder

    return call


def rows(folder):
    with (folder / "architectures.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def ranked(folder):
    return [row for row in rows(folder) if row["rank"]]


def test_the_best_within_a_budget(derive, run):
    _, everything = derive("everything")
    sizes = sorted(int(row["params"]) for row in rows(everything))
    budget = sizes[len(sizes) // 3]
    done, folder = derive("some", f"budget.params={budget}", "keep=3")
    assert (done.status, done.err) == (0, "")
    assert all((folder / name).stat().st_size > 0 for name in FILES)
    best = ranked(folder)
    assert [int(row["rank"]) for row in best] == list(range(1, len(best) + 1))
    assert all(int(row["params"]) <= budget for row in best)
    probabilities = [float(row["log_probability"]) for row in best]
    assert probabilities == sorted(probabilities, reverse=True)
    assert {row["within_budget"] for row in rows(folder)} == {"yes", "no"}
    assert all((int(row["params"]) <= budget) == (row["within_budget"] == "yes") for row in rows(folder))
    assert len([row for row in rows(folder) if row["derived"] == "yes"]) == 1
    assert sum(int(row["count"]) for row in rows(folder)) == 300
    written = sorted(path.name for path in (folder / "genotypes").iterdir())
    assert written == ["rank_001.json", "rank_002.json", "rank_003.json"]
    assert (folder / "genotype.json").read_bytes() == (folder / "genotypes/rank_001.json").read_bytes()
    numbers = summary(folder)
    assert (numbers["status"], numbers["draws"], numbers["budget_params"]) == ("finished", 300, budget)
    assert (numbers["exact_probability"], numbers["ranked"]) == (False, len(best))
    # Some 300 architectures priced from a few networks; nas.cost builds the one that won.
    assert numbers["networks_built"] <= 8
    price = run("cost", f"genotype={folder}", "dataset=digits", *SIZES[2:], "format=json")
    assert json.loads(price.out)["params"] == int(best[0]["params"]) == numbers["params"]
    assert json.loads(price.out)["macs"] == int(best[0]["macs"]) == numbers["macs"]
    assert f"nas.evaluate run={folder}" in done.out


def test_what_it_writes_can_be_evaluated(derive, run, tmp_path):
    _, folder = derive("a", "keep=2")
    second = folder / "genotypes/rank_002.json"
    done = run("evaluate", f"genotype={second}", "debug=fast", f"hydra.run.dir={tmp_path / 'e'}")
    assert (done.status, done.err) == (0, "")
    assert load(tmp_path / "e") == load(second)


def test_the_same_seed_draws_the_same(derive):
    tables = [
        derive(name, f"seed={seed}")[1] / "architectures.csv"
        for name, seed in zip("abc", (0, 0, 1), strict=True)
    ]
    assert tables[0].read_bytes() == tables[1].read_bytes() != tables[2].read_bytes()


def test_what_was_derived_without_a_draw_is_there_though_over_the_budget(derive):
    derived = next(row for row in rows(derive("all")[1]) if row["derived"] == "yes")
    done, folder = derive("less", f"budget.macs={int(derived['macs']) - 1}")
    assert done.status == 0
    found = next(row for row in rows(folder) if row["derived"] == "yes")
    assert (found["genotype"], found["within_budget"], found["rank"]) == (derived["genotype"], "no", "")
    assert summary(folder)["derived_within_budget"] is False
    assert "over the budget in macs" in done.out


def test_no_architecture_within_the_budget(derive):
    done, folder = derive("none", "budget.params=10", "budget.macs=20")
    assert done.status == 2
    fewest = min(int(row["params"]) for row in rows(folder))
    assert f"fewest parameters {fewest:,}" in done.err and "fewest multiply-adds" in done.err
    assert summary(folder)["status"] == "failed" and not (folder / "genotype.json").exists()
    assert "recipe." not in done.err, "no width is that narrow"


def test_a_budget_that_smaller_networks_would_keep_says_which(derive):
    # A cell of skip connections alone has 15,508 parameters so, one of convolutions 8,976 at width 2.
    wide = ("samples=1", "recipe.init_channels=6", "recipe.num_cells=6", "budget.params=12000")
    done, _ = derive("wide", *wide)
    assert done.status == 2
    assert re.search(
        r"the cheapest of them would keep it with (\S+ or )?recipe\.init_channels=[24]; else", done.err
    )


def test_at_most_so_many_skip_connections(derive):
    done, folder = derive("skips", "budget.skips=0", "samples=1")
    assert (done.status, done.err) == (0, "")
    assert {row["num_skip"] for row in ranked(folder)} == {"0"} and summary(folder)["num_skip"] == 0
    assert "budget.skips=0" in done.out
    assert load(folder)["normal"].count("skip_connect") == 0


def test_what_a_method_derives_has_no_more_skips_than_it_allows(derive, searched, tmp_path):
    limited = tmp_path / "limited"
    shutil.copytree(searched, limited)
    saved = OmegaConf.load(limited / "config.yaml")
    saved.method.max_skips = 0
    (limited / "config.yaml").write_text(OmegaConf.to_yaml(saved))
    done, folder = derive("few", "samples=20", source=limited)
    assert (done.status, done.err) == (0, "")
    assert {row["num_skip"] for row in rows(folder)} == {"0"}


def test_rank_by_the_supernet(derive):
    options = ["rank=supernet", "rank_candidates=4", "supernet.batches=2", "supernet.recalibrate_batches=2"]
    done, folder = derive("supernet", *options)
    assert (done.status, done.err) == (0, "")
    best = ranked(folder)
    accuracies = [float(row["supernet_accuracy"]) for row in best]
    assert len(best) == 4 and accuracies == sorted(accuracies, reverse=True)
    # 2 batches of 16 images.
    assert all((32 * accuracy).is_integer() for accuracy in accuracies)
    assert summary(folder)["supernet_accuracy"] == accuracies[0]
    assert {row["pareto"] for row in rows(folder) if not row["supernet_accuracy"]} == {"no"}


def test_latency_is_measured_for_the_most_probable(derive):
    options = ["budget.latency=1e6", "latency.candidates=3", "latency.repeats=2", "latency.warmup=1"]
    done, folder = derive("latency", *options)
    assert (done.status, done.err) == (0, "")
    best = ranked(folder)
    assert len(best) == 3
    assert all(float(row["latency_ms"]) > 0 and float(row["latency_spread_ms"]) >= 0 for row in best)
    assert {row["within_budget"] for row in rows(folder) if not row["latency_ms"]} == {"unknown"}


@pytest.mark.parametrize("method", ["darts1", "drnas"])
def test_where_every_edge_is_kept_frequency_meets_probability(run, derive, place, method):
    source = place / f"nasbench201_{method}"
    operations = "space.operations=[skip_connect,nor_conv_1x1]"
    options = [operations, "space.cells_per_stage=1", "space.init_channels=4", "dataset.batch_size=16"]
    limits = [
        "method.warmup_epochs=0",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "trainer.limit_val_batches=1",
    ]
    done = run(
        "search", "space=nasbench201", f"method={method}", *options, *limits, f"hydra.run.dir={source}"
    )
    assert (done.status, done.err) == (0, "")
    options = ["samples=3000", "keep=1", "rank=supernet", "rank_candidates=2", "supernet.batches=1"]
    done, folder = derive("nb201", *options, source=source)
    assert (done.status, done.err) == (0, "")
    numbers = summary(folder)
    assert numbers["exact_probability"] is True
    # Two operations on edges from the input and two on the others, less the fixed numbers of edges.
    assert numbers["networks_built"] <= 3
    found = {
        row["genotype"]: (math.exp(float(row["log_probability"])), int(row["count"])) for row in rows(folder)
    }
    assert len(found) == 2**6
    assert sum(p for p, _ in found.values()) == pytest.approx(1, abs=1e-4)
    for p, count in found.values():
        assert count / 3000 == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 3000))
    assert len(ranked(folder)) == 2


def test_rank_by_a_zero_cost_measure(derive, searched, run):
    chosen = ["samples=40", "rank=snip", "rank_candidates=3", "dataset.batch_size=8"]
    done, folder = derive("a", *chosen, "keep=2")
    assert (done.status, done.err) == (0, "")
    best = ranked(folder)
    found = [float(row["measured"]) for row in best]
    assert 3 <= len(best) <= 4 and found == sorted(found, reverse=True)
    assert all(not row["measured"] for row in rows(folder) if not row["rank"])
    assert summary(folder)["measured"] == pytest.approx(found[0])
    assert "snip" in done.out and "3 measured by snip" in done.out
    # nas.rank on the same images and weights says the same.
    same = ["space=darts", OPERATIONS, *SIZES, "dataset=digits", "dataset.batch_size=8", "measures=[snip]"]
    listed = f"genotypes={folder / 'genotype.json'}"
    assert run("rank", *same, listed, f"hydra.run.dir={folder / 'ranked'}").status == 0
    with (folder / "ranked/ranks.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["snip"] == best[0]["measured"] and row["params"] == best[0]["params"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["budget.params=-1"], "budget.params=-1"),
        (["rank=fastest"], "rank=fastest: unknown; known are probability, supernet, synflow"),
        (["rank=zico", "zero_cost.batches=1"], "zero_cost.batches=1: zico needs at least 2"),
        (["rank=zico", "supernet.batches=1"], "supernet.batches: without effect where rank=zico"),
        (["rank=naswot", "zero_cost.batches=5"], "zero_cost.batches=5: without effect, since none of naswot"),
        (["zero_cost.batches=3"], "zero_cost.batches: without effect where rank=probability"),
        (["samples=0"], "samples=0"),
        (["front=time"], "known are null, params, macs, latency"),
        (["latency.repeats=1"], "latency.repeats=1"),
        (["latency.repeats=3", "front=macs"], "latency.repeats: without effect, since no latency"),
        (["budget.latency=9", "latency.fitted=false"], "without effect where latency.table=null"),
        (["supernet.recalibrate_batches=-1"], "supernet.recalibrate_batches=-1"),
        (["recipe.cells_per_stage=2"], "space darts is sized by num_cells"),
        (["resume=nowhere"], "resume=nowhere"),
    ],
)
def test_settings_that_are_refused(derive, overrides, words):
    done, folder = derive("refused", *overrides)
    assert done.status == 2 and words in done.err
    assert not (folder / "config.yaml").exists()


def test_runs_that_are_refused(run, tiny, derive, tmp_path):
    drawn = tmp_path / "random"
    run("search", *tiny, "method=random", f"hydra.run.dir={drawn}")
    done, _ = derive("a", source=drawn)
    assert done.status == 2 and "learns no distribution" in done.err
    done, _ = derive("b", source=tmp_path / "nowhere")
    assert done.status == 2 and "no run folder there" in done.err
    _, earlier = derive("c")
    done, _ = derive("d", source=earlier)
    assert done.status == 2 and "it is a run of nas.derive" in done.err
    done = run("derive", f"hydra.run.dir={tmp_path / 'e'}")
    assert done.status == 2 and "run=null" in done.err


def test_scaling_factors_are_no_distribution_and_are_refused_before_a_folder_is_made(
    run, tiny, derive, tmp_path
):
    source = tmp_path / "dsonas"
    given = ("method=dsonas", "method.warmup_epochs=0", OPERATIONS, f"hydra.run.dir={source}")
    assert run("search", *tiny, *SIZES, *given).status == 0
    done, folder = derive("a", source=source)
    assert done.status == 2 and "method dsonas has no distribution to draw from" in done.err
    assert not folder.exists() or not list(folder.glob("*.yaml"))


@pytest.fixture
def text_searched(run, place):
    """The folder of a search of a recurrent cell, of two steps."""
    folder = place / "darts_rnn"
    sizes = ("space.num_nodes=3", "space.hidden_size=8", "recipe.hidden_size=8", "trainer.max_epochs=1")
    limits = ("trainer.limit_train_batches=2", "trainer.limit_val_batches=1")
    if not folder.exists():
        texts = ("space=darts_rnn", "dataset=wikitext_mini", "method=darts1_rnn")
        done = run("search", *texts, *sizes, *limits, f"hydra.run.dir={folder}")
        assert (done.status, done.err) == (0, "")
    return folder


def test_recurrent_cells_are_drawn_and_all_cost_the_same(derive, text_searched, run):
    done, folder = derive("rnn", "++recipe.hidden_size=5", source=text_searched)
    assert (done.status, done.err) == (0, "")
    assert all((folder / name).stat().st_size > 0 for name in FILES)
    words, first, nodes = 3867, (5 + 5) * 10, 3 * 5 * 10
    found = {(row["params"], row["macs"]) for row in rows(folder)}
    assert found == {(str(6 * words + first + nodes), str(5 * words + first + nodes))}
    assert "all cost the same" in done.out and "multiply-adds per word: neither tells them apart" in done.out
    # The last node chooses among 12 candidates, the one before among 8, the first among 4.
    assert 100 < len(rows(folder)) <= 12 * 8 * 4
    assert summary(folder)["exact_probability"] is False
    assert load(folder).space == "darts_rnn"
    price = run("cost", f"genotype={folder}", "space=darts_rnn", "dataset=wikitext_mini",
                "recipe.hidden_size=5", "format=json")  # fmt: skip
    assert json.loads(price.out)["params"] == summary(folder)["params"]


def test_latency_of_recurrent_cells_is_that_of_a_piece_of_words(derive, text_searched):
    options = ["front=latency", "latency.candidates=2", "latency.repeats=2", "latency.warmup=1"]
    done, folder = derive("rnn", *options, source=text_searched)
    assert (done.status, done.err) == (0, "")
    assert "batch of 1, 35 words each" in done.out
    assert sum(bool(row["latency_ms"]) for row in rows(folder)) in (2, 3)


def test_recurrent_cells_are_not_ranked_by_accuracy(derive, text_searched):
    done, folder = derive("rnn", "rank=supernet", source=text_searched)
    assert done.status == 2 and "rank=supernet" in done.err and "for text" in done.err
    assert not (folder / "config.yaml").exists()
    done, folder = derive("rnn", "rank=snip", source=text_searched)
    assert done.status == 2 and "rank=snip: it measures networks that read images" in done.err
    assert not (folder / "config.yaml").exists()


class Bright:
    """Images of one batch a part, of which the second is brighter, so that statistics tell them apart."""

    mean, std, image_shape, num_classes = (0.5,), (0.25,), (1, 8, 8), 10

    def train(self, augmented=True):
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 120, (16, 1, 8, 8), generator=generator, dtype=torch.uint8)
        images[8:] += 100
        return TensorImages(images, torch.arange(16) % 10)


def test_recalibration_gives_the_statistics_of_one_architecture():
    space = DartsSpace(
        "darts", ["none", "skip_connect", "sep_conv_3x3"], num_nodes=2, num_cells=3, init_channels=4
    )
    torch.manual_seed(0)
    supernet = space.supernet(ImageInputs((1, 8, 8), 10)).double()
    genotype = space.derive({name: torch.rand(group.shape) for name, group in space.groups.items()})
    hardware = plain(OmegaConf.load(CONF / "hardware/cpu.yaml")) | {"precision": "64-true", "native": False}
    split = Split(torch.arange(8), torch.arange(8, 16))
    source = Bright()
    arguments = (supernet, space.groups, source, split, 8, 1)
    before = {name: value.clone() for name, value in supernet.named_buffers()}
    kept = Inheritance(*arguments, 0, 0, hardware).accuracy(genotype)
    assert all(torch.equal(value, before[name]) for name, value in supernet.named_buffers())
    again = Inheritance(*arguments, 1, 0, hardware).accuracy(genotype)
    assert 0 <= kept <= 1 and 0 <= again <= 1
    images, _ = source.train().__getitems__(range(8))
    x = (images.double() / 255 - 0.5) / 0.25
    weights = {name: value.double() for name, value in one_hot(genotype, space.groups).items()}
    norms = [module for module in supernet.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    seen = []
    handle = norms[0].register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    supernet(x, weights)
    handle.remove()
    # One batch of the weight split is all that is remembered: its mean and its unbiased variance.
    assert torch.allclose(norms[0].running_mean, seen[0].mean(dim=(0, 2, 3)))
    assert torch.allclose(norms[0].running_var, seen[0].var(dim=(0, 2, 3)))
