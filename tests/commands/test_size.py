"""`size=auto`: plain numbers that suit data, memory and time, of which what was typed is none."""

import itertools
import json

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import nas
from nas.commands import sizing
from nas.commands.auto_size import settle_sizes
from nas.commands.shared_sizes import PLACE
from nas.domains.networks import source_of
from nas.errors import ConfigError
from nas.measure.auto_rules import (
    CHOSEN,
    EVALUATION,
    LADDERS,
    SEARCH,
    batch_for,
    begin_at,
    is_number_of,
    lighter,
    rescale_epochs,
    rungs_of,
)
from nas.running.in_process import call

KEYS = {"num_cells": 1, "init_channels": 1}
ONE = ("dataset=digits", "traceback=false", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1")


@pytest.fixture
def priced(monkeypatch):
    """`priced(search, training)`: made-up seconds of an epoch, each times cells times squared channels."""

    def put(search, training):
        def of(sizes, epochs, each):
            cells = sizes.get("num_cells") or sizes.get("cells_per_stage") or 1
            width = sizes.get("init_channels") or sizes.get("hidden_size")
            return each * cells * width**2 * epochs, "made up"

        monkeypatch.setattr(
            sizing, "search_price", lambda config, *_: of(config.space, config.trainer.max_epochs, search)
        )
        monkeypatch.setattr(
            sizing,
            "training_price",
            lambda config, *_: of(config.recipe, config.trainer.max_epochs, training),
        )

    return put


def settled(name, *words):
    """What a command makes of these words before it begins: (its configuration, what its summary says)."""

    def settle(config, folder):
        said = settle_sizes(config, name, source_of(config))
        return OmegaConf.to_container(config, resolve=True), said

    return call(name, words, job=settle).value


@pytest.fixture
def own(tmp_path):
    """`own(count=40, shape=(8, 8), classes=2, ...) -> words` of a data set of arrays."""

    def make(count=40, shape=(8, 8), classes=2, dtype=np.uint8):
        values = np.random.default_rng(0).integers(0, 255, (count, *shape)).astype(dtype)
        labels = np.arange(count) % classes
        np.savez(tmp_path / "own.npz", images=values, labels=labels)
        return ("dataset=arrays", f"dataset.file={tmp_path / 'own.npz'}")

    return make


def test_a_search_has_plain_numbers_and_so_have_its_resume_and_its_evaluation(run, priced, tmp_path):
    priced(0.002, 1e-4)
    folder = tmp_path / "search"
    words = (*ONE, "size=auto", "time=0.25", f"hydra.run.dir={folder}", "dataset.batch_size=16")
    done = run("search", *words, "space.num_cells=3", "space.num_nodes=2", "time_limit=0")
    config = OmegaConf.load(folder / "config.yaml")
    # Digits are few: the ladder begins at 8 channels, of which 33 epochs fit into 85 % of 15 seconds.
    assert config.size is None and config.space.num_cells == 3 and config.dataset.batch_size == 16
    assert (config.space.init_channels, config.trainer.max_epochs) == (8, 33), done.out
    assert "size=auto time=0.25: " in done.out
    assert "search: space.init_channels=8 trainer.max_epochs=33 (about 13s)" in done.out
    assert "(about 15s; 33 epochs, as foreseen by size=auto); time_limit ends it by " in done.out
    assert f"stop:       Ctrl-C at any time; go on with: python -m nas.search resume={folder}\n" in done.out
    assert "evaluate later: recipe.num_cells=8" in done.out and config.recipe.num_cells == 8
    told = json.loads((folder / "summary.json").read_text())
    assert told["sized_for_minutes"] == 0.25 and told["sized"]["search"]["trainer.max_epochs"] == 33
    priced(1e9, 1e9)
    resumed = run("search", f"resume={folder}", "time_limit=0")
    assert resumed.status == 130 and OmegaConf.load(folder / "config.yaml").trainer.max_epochs == 33
    assert json.loads((folder / "summary.json").read_text())["sized"] == told["sized"]


@pytest.mark.parametrize(
    "words, told",
    [
        (("size=large",), "size=large: must be auto, or null"),
        (("time=3",), "time=3: only with size=auto"),
        (("size=auto", "time=-1"), "time=-1: must be a number of minutes above 0"),
        (("size=auto", "time=0.001"), "time=0.001: 10 epochs of the smallest supernet take about"),
        (("size=auto", "hardware.memory_gib=0.4"), "size=auto: not even 2 images a step fit the memory"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run, priced, tmp_path, words, told):
    priced(0.01, 0.01)
    done = run("search", *ONE, *words, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.status == 2 and told in done.err and done.err.count("\n") == 1, done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("word, told", [("metrics=[top5]", "top5"), ("dataset.valid=0.99", "dataset.valid")])
def test_what_an_evaluation_cannot_measure_is_refused_before_anything_is_timed(
    run, own, monkeypatch, tmp_path, word, told
):
    monkeypatch.setattr(sizing, "training_price", None)
    words = ("genotype=DARTS_V2", *own(classes=3), word, f"hydra.run.dir={tmp_path / 'run'}")
    done = run("evaluate", *words)
    assert done.status == 2 and told in done.err and done.err.count("\n") == 1, done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "threads, told",
    [
        (2, "11h45m on this device, and 11m46s with hardware.threads=1, because"),
        (1, "11m46s on this device; give it that long"),
    ],
)
def test_where_threads_wait_for_one_another_one_of_them_is_named_as_the_way_out(
    own, monkeypatch, threads, told
):
    def price(config, *_):
        return (60.0 if torch.get_num_threads() == 1 else 3600.0) * config.trainer.max_epochs, "made up"

    monkeypatch.setattr(sizing, "search_price", price)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with pytest.raises(ConfigError, match=f"take about {told}"):
            settled("search", *own(), "time=1")
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_the_smallest_sizes_are_given_longer_where_a_busy_machine_could_time_none(priced, own, monkeypatch):
    priced(1e-6, 1e-6)
    price = sizing.search_price

    def slow(config, seconds, source):
        return price(config) if seconds > sizing.SECONDS else (None, "too slow")

    monkeypatch.setattr(sizing, "search_price", slow)
    _, said = settled("search", *own())
    smallest = {"space.num_cells": 3, "space.init_channels": 4}
    assert smallest.items() <= said["sized"]["search"].items() and said["sized_seconds"]["search"]
    # A tenth of the time is all that may be spent on it.
    with pytest.raises(ConfigError, match=r"time=0\.5: too slow; so type sizes and epochs"):
        settled("search", *own(), "time=0.5")


def test_everything_that_is_typed_stays_and_nothing_is_measured(run, monkeypatch, tmp_path):
    monkeypatch.setattr(sizing, "search_price", None)
    monkeypatch.setattr(sizing, "training_price", None)
    typed = ("space.num_cells=3", "space.init_channels=2", "dataset.batch_size=16", "trainer.max_epochs=1")
    foreseen = ("recipe.num_cells=3", "recipe.init_channels=4", "recipe.batch_size=16", "recipe.epochs=2")
    done = run("search", *ONE, *typed, *foreseen, "size=auto", f"hydra.run.dir={tmp_path / 'run'}")
    assert done.status == 0, done.err
    assert done.out.count("everything was typed") == 2


def test_steps_are_timed_in_earnest_and_leave_the_search_as_it_is(run, tmp_path):
    sizes = ("space.num_cells=3", "space.num_nodes=2", "space.init_channels=2", "dataset.batch_size=16")
    sizes += ("recipe.num_cells=3", "recipe.init_channels=2", "recipe.batch_size=16", "recipe.epochs=1")
    for name, words in (("chosen", ("size=auto", "time=600")), ("typed", ("trainer.max_epochs=50",))):
        run("search", *ONE, *sizes, *words, "time_limit=0", f"hydra.run.dir={tmp_path / name}")
    chosen, typed = (tmp_path / name for name in ("chosen", "typed"))
    assert json.loads((chosen / "summary.json").read_text())["sized"]["search"] == {"trainer.max_epochs": 50}
    assert (chosen / "architecture.csv").read_bytes() == (typed / "architecture.csv").read_bytes()


NOT_BY_ITSELF = {
    "a data set of the project": (),
    "whatever it is called": ("dataset.name=folder",),
    "null": ("own", "size=null"),
    "null of the data set": ("own", "dataset.sizing=null"),
    "a debug mode": ("own", "debug=fast"),
    "an experiment": ("own", "experiment=start/digits"),
}


@pytest.mark.parametrize("name", NOT_BY_ITSELF)
def test_sizes_are_as_configured_without_a_word(name, priced, own):
    priced(1e9, 1e9)
    first, *words = NOT_BY_ITSELF[name] or ("dataset=digits",)
    words = [*own(), *words] if first == "own" else [first, *words]
    for command in ("search", "evaluate"):
        if command == "search" or "experiment" not in name:
            config, said = settled(command, *words)
            assert said == {} and config["size"] is None and config["recipe"]["epochs"] > 1


@pytest.mark.parametrize("word", ["debug=fast", "experiment=start/digits", "size=null"])
def test_a_data_sets_say_that_was_typed_in_vain_is_refused(word, own):
    with pytest.raises(ConfigError, match=r"dataset\.sizing=auto: without effect beside .* say size=auto"):
        settled("search", *own(), word, "dataset.sizing=auto")


def test_data_of_ones_own_are_sized_without_a_word_and_by_what_their_file_says(priced, own, capsys, tmp_path):
    priced(0.5, 0.5)
    config, said = settled("search", *own())
    assert "size=auto time=20: minutes for each" in capsys.readouterr().out
    sizes = {"space.num_cells": 5, "space.init_channels": 8, "dataset.batch_size": 8, "trainer.max_epochs": 6}
    assert said["sized_for_minutes"] == 20 and config["size"] is None and config["time"] is None
    (tmp_path / "conf/dataset").mkdir(parents=True)
    (tmp_path / "conf/dataset/pets.yaml").write_text("defaults: [arrays, _self_]\nname: pets\n")
    found = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    again, _ = settled("search", "dataset=pets", own()[1], "recipe=folder", found)
    assert sizes.keys() == said["sized"]["search"].keys() and again["space"] == config["space"]
    assert again["trainer"]["max_epochs"] == config["trainer"]["max_epochs"]


def test_what_was_chosen_is_what_everything_after_it_takes(run, priced, own, tmp_path):
    """Python and a command choose alike; neither resuming nor an evaluation chooses anew."""
    priced(0.01, 0.01)
    data, folder = own(), tmp_path / "search"
    few = ["space.num_nodes=2", "trainer.limit_train_batches=1", "trainer.limit_val_batches=1"]
    one = nas.datasets.arrays(tmp_path / "own.npz")
    sizes = ["space.init_channels=2", "recipe.init_channels=2", "recipe.num_cells=3"]
    found = nas.run_search(one, folder=folder, time_limit=0, verbose=False, overrides=[*few, *sizes])
    config, said = settled("search", *data, *few, *sizes)
    kept = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    assert found.summary["sized"] == said["sized"] and said["sized"]["search"]
    assert [kept[one] for one in ("space", "trainer", "size", "time")] == [
        config[one] for one in ("space", "trainer", "size", "time")
    ]
    priced(1e9, 1e9)
    assert run("search", f"resume={folder}", "time_limit=0").status == 130
    assert OmegaConf.load(folder / "config.yaml").trainer.max_epochs == config["trainer"]["max_epochs"]
    trained, said = settled("evaluate", f"run={folder}")
    sizes = ("num_cells", "init_channels", "batch_size", "epochs")
    assert said == {} and [trained["recipe"][one] for one in sizes] == [kept["recipe"][one] for one in sizes]
    _, said = settled("evaluate", "genotype=DARTS_V2", *data)
    assert said["sized"]["evaluate"]["recipe.batch_size"] == 8


def test_jobs_of_a_sweep_take_the_numbers_of_the_first(run, priced, own, monkeypatch, tmp_path):
    priced(1.0, 1.0)
    steps = itertools.count(1)
    price = sizing.training_price

    def dearer(config, *given):
        seconds, why = price(config, *given)
        return seconds * next(steps), why

    monkeypatch.setattr(sizing, "training_price", dearer)
    sweep = tmp_path / "sweep"
    words = ("space.num_nodes=2", "recipe.num_cells=3", "recipe.init_channels=2")
    done = run("search", "-m", "method=random", *own(), *words, "seed=0,1", f"hydra.sweep.dir={sweep}")
    assert done.status == 0, done.err
    first, second = (OmegaConf.load(sweep / str(number) / "config.yaml") for number in (0, 1))
    assert first.recipe == second.recipe and first.recipe.epochs == 85
    # One that is run by itself belongs to them; others do not.
    again = ["method=random", *own(), *words, "seed=2"]
    found, _ = settled("search", *again, f"hydra.run.dir={sweep / '2'}")
    assert found["recipe"]["epochs"] == 85
    assert settled("search", *again)[0]["recipe"]["epochs"] == 42
    (kept,) = (sweep / PLACE).iterdir()
    for damage in ({"numbers": {"dataset.source._target_": 1}}, *({"seconds": one} for one in (1e300, -5))):
        kept.write_text(json.dumps({"search": {"numbers": {}} | damage}))
        with pytest.raises(ConfigError, match=r"damaged \(search\); remove it"):
            settled("search", *again, f"hydra.run.dir={sweep / '2'}")


def test_several_processes_are_sized_by_the_data_alone(priced, own, monkeypatch):
    monkeypatch.setattr(sizing, "several", lambda hardware: True)
    numbers = []
    for seconds in (1e-6, 1e9):
        priced(seconds, seconds)
        numbers.append(settled("search", *own())[1]["sized"])
    assert numbers[0] == numbers[1] and "trainer.max_epochs" not in numbers[0]["search"]
    with pytest.raises(ConfigError, match="of several processes, which must be alike"):
        settled("search", *own(), "time=5")


@pytest.mark.parametrize(
    "given, words, batch",
    [
        ({"count": 10}, (), 4),
        ({"count": 10}, ("dataset.split_ratio=0.25",), 2),
        ({"count": 60, "classes": 1}, (), 8),
        ({"count": 60, "shape": (500, 300)}, ("space=nasbench201",), 8),
        ({"count": 60, "shape": (3, 40), "dtype": np.float32}, (), 8),
    ],
)
def test_odd_data_get_a_batch_that_their_parts_hold(given, words, batch, priced, own):
    priced(1e-3, 1e-3)
    config, said = settled("search", *own(**given), *words)
    assert config["dataset"]["batch_size"] == batch and said["sized_seconds"]["search"] > 0
    config, said = settled("evaluate", "genotype=DARTS_V2", *own(**given))
    assert config["dataset"]["batch_size"] == min(8, given["count"] * 4 // 5)


def test_characters_fit_the_shorter_stream(priced, tmp_path):
    priced(1e-3, 1e-3)
    for part, text in {"train": "the cat sat\n" * 900, "valid": "a cat\n" * 3, "test": "a mat\n"}.items():
        (tmp_path / f"{part}.txt").write_text(text)
    words = ("dataset=corpus", f"dataset.root={tmp_path}", "dataset.tokenizer=characters", "space=darts_rnn")
    config, _ = settled("search", *words, "method=darts1_rnn", "dataset.valid_batch_size=2")
    # 18 characters are 9 columns of two.
    assert config["dataset"]["batch_size"] == 8 and config["space"]["hidden_size"] == 96
    assert config["recipe"]["hidden_size"] == 128


def test_more_time_is_never_less_network_or_fewer_epochs(priced, own):
    priced(0.02, 0.02)
    found = [settled("search", *own(), f"time={minutes}")[0] for minutes in (1, 5, 10_000)]
    sizes = [one["space"]["num_cells"] * one["space"]["init_channels"] ** 2 for one in found]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    for before, after in itertools.pairwise(found):
        same = before["space"] == after["space"]
        assert not same or before["trainer"]["max_epochs"] <= after["trainer"]["max_epochs"]
    assert found[-1]["trainer"]["max_epochs"] == 50


def test_ladders_go_down_from_the_papers_sizes():
    assert rungs_of(KEYS, SEARCH)[0] == {"num_cells": 8, "init_channels": 16}
    assert rungs_of(KEYS, EVALUATION)[0] == {
        "num_cells": 20,
        "init_channels": 36,
    }
    assert all(one["init_channels"] % 12 == 0 for one in rungs_of(KEYS, SEARCH, (6, 4)))
    assert rungs_of({"blocks_per_stage": 1}, SEARCH) == []
    assert [begin_at("images", count) for count in (50_000, 10_000, 3_000, 100)] == [0, 1, 2, 3]


def test_a_step_of_a_ladder_is_lighter_in_proportion_to_its_multiply_adds():
    rung, other = (
        {"space.num_cells": 4, "space.init_channels": 8},
        {"space.num_cells": 8, "space.init_channels": 16},
    )
    assert (
        lighter(rung, other) == 1 / 8
        and lighter({"recipe.hidden_size": 3}, {"recipe.hidden_size": 6}) == 0.25
    )
    assert lighter({}, {}) == 1
    for _, ladders in LADDERS.items():
        assert all(value >= 1 for ladder in ladders for rung in ladder for value in rung)


def test_what_a_file_may_choose_are_sizes():
    assert is_number_of("space.num_cells", 3) and "recipe.epochs" in CHOSEN
    for key, value in (
        ("space.num_cells", 0),
        ("space.num_cells", True),
        ("space.num_cells", 1e3),
        ("trust", 1),
    ):
        assert not is_number_of(key, value)


def test_batches_leave_ten_steps_and_fit():
    assert [batch_for("images", count) for count in (50_000, 400, 100, 10)] == [64, 32, 8, 8]
    assert batch_for("images", 50_000, most=20) == 16 and batch_for("text", 35 * 10 * 9) == 8


def test_stages_and_warm_up_keep_their_shares():
    stages = [{"epochs": 25, "freeze": 10, "partial": 6}, {"epochs": 25, "freeze": 10, "partial": 4}]
    config = OmegaConf.create(
        {"trainer": {"max_epochs": 50}, "method": {"stages": stages, "warmup_epochs": 0}}
    )
    followed = rescale_epochs(config, 11, set())
    assert followed == {"method.stages": OmegaConf.to_container(config.method.stages)}
    assert [(one.epochs, one.freeze) for one in config.method.stages] == [(6, 2), (5, 2)]
    config = OmegaConf.create(
        {"trainer": {"max_epochs": 50}, "method": {"stages": None, "warmup_epochs": 120}}
    )
    assert rescale_epochs(config, 20, set()) == {"method.warmup_epochs": 10}
    assert (config.trainer.max_epochs, config.method.warmup_epochs) == (20, 10)
