"""`run=<folder>`: cell, space, data, recipe and split of an earlier run, and what is typed wins."""

import json
import shlex
import shutil

import pytest
from omegaconf import OmegaConf

import nas.commands.search_result
from nas.formats import read_description
from nas.genotype import load
from nas.running.printed import command_for
from tests.commands.test_bad_input import assert_refused
from tests.commands.test_old_runs import unpacked

SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_test_batches=1")
SIZES = (
    "space.num_cells=3", "space.num_nodes=2", "space.init_channels=2", "recipe.num_cells=3",
    "recipe.init_channels=2", "trainer.limit_val_batches=1",
)  # fmt: skip
DERIVED = ("samples=50", "keep=2", "recipe.init_channels=4")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("from run")


@pytest.fixture
def folders(run, place):
    """A search, a derivation of it and an evaluation of its second choice, made once.

    Each is started as the one before it has printed, and a few words more.
    """
    found = {name: place / name for name in ("search", "derive", "evaluate", "export")}
    words = {
        "search": (*SIZES, *SHORT[:2], "split_seed=5", "dataset.augment.pad=0"),
        "derive": DERIVED,
        "evaluate": ("choice=2", *SHORT, "recipe.clip=2.5", "dataset.fraction=0.5", "metrics=[f1]"),
        "export": ("format=safetensors", "images=1"),
    }
    printed: list[str] = []
    for name, folder in found.items():
        if not folder.exists():
            done = run(name, *printed, *words[name], f"hydra.run.dir='{folder}'")
            assert (done.status, done.err) == (0, "")
            after = next((one for one in list(found) if f"\n{one}: " in done.out), "")
            line = next((one for one in done.out.splitlines() if after and one.startswith(f"{after}:")), "")
            printed = shlex.split(line.removeprefix(f"{after}:"))[3:]
    return found


@pytest.fixture
def composed(run):
    def call(name, *words):
        done = run(name, *words, "--cfg", "job")
        assert done.status == 0, done.err
        return OmegaConf.create(done.out)

    return call


def test_what_each_run_prints_leads_from_a_search_to_an_exported_network(folders):
    described = read_description(folders["export"] / "model.safetensors")
    assert described.genotype == load(folders["evaluate"])
    assert OmegaConf.load(folders["derive"] / "config.yaml").run == str(folders["search"])


def test_settings_are_the_folders_and_what_is_typed_wins(folders, composed):
    found = composed("evaluate", f"run={folders['search']}")
    assert (found.recipe.num_cells, found.recipe.init_channels, found.split_seed) == (3, 2, 5)
    assert found.dataset.augment.pad == 0 and found.space.num_nodes == 2
    assert found.trainer.max_epochs == found.recipe.epochs == found.recipe.scheduler.T_max == 20
    typed = composed(
        "evaluate", f"run={folders['search']}", "recipe.num_cells=4", "split_seed=1", "dataset.augment.pad=2"
    )
    assert (typed.recipe.num_cells, typed.split_seed, typed.dataset.augment.pad) == (4, 1, 2)
    assert composed("evaluate", f"run={folders['derive']}").recipe.init_channels == 4
    other = composed("evaluate", f"run={folders['search']}", "dataset=cifar10", "dataset.root=/elsewhere")
    assert (other.recipe.name, other.recipe.num_cells, other.dataset.augment.pad) == ("cifar10", 20, 4)
    assert other.dataset.source.root == "/elsewhere" and other.space.num_nodes == 2


def test_another_recipe_of_the_same_data(folders, composed):
    found = composed("evaluate", f"run={folders['search']}", "recipe=cifar10")
    assert (found.recipe.num_cells, found.dataset.name, found.dataset.augment.pad) == (20, "digits", 0)


def test_a_file_that_names_the_run_says_what_the_typed_word_says(folders, composed, tmp_path):
    own = tmp_path / "own folder"
    (own / "experiment").mkdir(parents=True)
    file, where = own / "experiment" / "again.yaml", f"--config-dir={own}"
    file.write_text(f"# @package _global_\nrun: {folders['derive']}\n")
    typed = composed("evaluate", f"run='{folders['derive']}'")
    assert typed.recipe.init_channels == 4
    assert composed("evaluate", "experiment=again", where) == typed
    assert composed("evaluate", where, "experiment=again", "recipe.init_channels=6").recipe.init_channels == 6
    # What the file says beside it wins, as what is typed does.
    file.write_text(
        "# @package _global_\ndefaults:\n  - override /recipe: cifar10\n  - _self_\n"
        f"run: {folders['derive']}\n"
        "dataset:\n  augment: {pad: 3}\nsplit_seed: 9\n"
    )
    typed = composed(
        "evaluate", f"run='{folders['derive']}'", "recipe=cifar10", "dataset.augment.pad=3", "split_seed=9"
    )
    assert composed("evaluate", "experiment=again", where) == typed


def test_the_best_and_another_choice(folders, run, tmp_path):
    saved = json.loads((folders["evaluate"] / "summary.json").read_text())
    second = load(folders["derive"] / "genotypes/rank_002.json")
    assert load(folders["evaluate"]) == second != load(folders["derive"])
    assert saved["genotype"] == str(second)
    config = OmegaConf.load(folders["evaluate"] / "config.yaml")
    assert (config.run, config.choice) == (str(folders["derive"]), 2)
    assert config.recipe.init_channels == 4
    random = ("untrained=true", "format=safetensors", "images=1", f"hydra.run.dir={tmp_path / 'x'}")
    done = run("export", f"run={folders['derive']}", "choice=2", *random)
    assert done.status == 0, done.err
    described = read_description(tmp_path / "x/model.safetensors")
    assert (described.genotype, described.sizes["init_channels"]) == (second, 4)


def test_an_evaluation_is_done_again_as_it_was_but_for_the_seed(folders, run, composed, tmp_path):
    done = run(
        "evaluate",
        f"run={folders['evaluate']}",
        "trainer.limit_train_batches=2",
        "seed=0",
        f"hydra.run.dir={tmp_path / 'e'}",
    )
    assert done.status == 0, done.err
    first, again = (
        OmegaConf.load(folder / "config.yaml") for folder in (folders["evaluate"], tmp_path / "e")
    )
    assert (again.dataset, again.recipe, again.space) == (first.dataset, first.recipe, first.space)
    assert (again.trainer.max_epochs, again.dataset.fraction, again.recipe.clip) == (1, 0.5, 2.5)
    numbers = [
        json.loads((one / "summary.json").read_text()) for one in (folders["evaluate"], tmp_path / "e")
    ]
    assert (
        numbers[0]["genotype"] == numbers[1]["genotype"]
        and numbers[0]["split_hash"] == numbers[1]["split_hash"]
    )
    # What was asked for is measured again, unless something else is typed.
    assert again.metrics == ["f1"] and "test_f1" in numbers[1]
    assert composed("evaluate", f"run={folders['evaluate']}", "metrics=[]").metrics == []
    assert composed("evaluate", f"run={folders['derive']}").metrics == []
    # Of seven test batches the first run has looked at one.
    assert all(one["train_loss"] == numbers[0]["train_loss"] for one in numbers)


REFUSED = {
    "genotype=DARTS_V2": "leave one of the two out",
    "choice=2": "run of nas.search",
    "experiment=darts/evaluate_cifar10": "leave one of the two out",
}


@pytest.mark.parametrize("word", REFUSED)
@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_what_contradicts_it_is_refused_in_a_line(folders, run, command, word):
    assert_refused(run(command, f"run={folders['search']}", word), REFUSED[word])


def test_what_cannot_be_chosen_is_refused_in_a_line(folders, run, tmp_path):
    assert_refused(run("evaluate", "choice=1", "genotype=DARTS_V2"), "choice=1: one of the architectures")
    assert_refused(run("evaluate", f"run={folders['derive']}", "choice=3"), "has kept the best 2")
    assert_refused(run("evaluate", f"run={folders['derive']}", "choice=0"), "choice=0")
    assert_refused(run("evaluate", f"run={tmp_path}"), "no run folder there")
    assert_refused(run("derive", f"run={folders['evaluate']}"), "run of nas.evaluate, not of nas.search")
    assert_refused(run("export", f"run={folders['search']}"), "an architecture without weights")


def test_the_folder_may_have_moved_and_the_cell_of_an_epoch_is_meant(folders, run, tmp_path, monkeypatch):
    shutil.copytree(folders["search"], tmp_path / "moved to")
    monkeypatch.chdir(tmp_path)
    done = run("evaluate", "run=moved to", "epoch=0", "test=false", *SHORT, f"hydra.run.dir={tmp_path / 'e'}")
    assert done.status == 0, done.err
    assert load(tmp_path / "e") == load(folders["search"])
    shutil.rmtree(tmp_path / "moved to")
    summary = json.loads((tmp_path / "e/summary.json").read_text())
    (tmp_path / "e/summary.json").write_text(json.dumps(summary | {"status": "stopped"}))
    done = run("evaluate", f"resume={tmp_path / 'e'}", "trainer.max_epochs=2", "resume_schedule=restart")
    assert done.status == 0, done.err
    assert json.loads((tmp_path / "e/summary.json").read_text())["epochs"] == 2


def test_many_folders_in_a_multirun(folders, run, tmp_path):
    words = (f"run='{folders['search']}','{folders['derive']}'", "test=false", *SHORT)
    done = run("evaluate", "-m", *words, f"hydra.sweep.dir={tmp_path}")
    assert done.status == 0, done.err
    widths = [OmegaConf.load(tmp_path / str(job) / "config.yaml").recipe.init_channels for job in (0, 1)]
    assert widths == [2, 4]


def test_nothing_but_what_was_typed_counts_as_typed(folders, run):
    words = (f"run={folders['search']}", "seed=3")
    done = run("evaluate", *words, "hydra.job.config.override_dirname.exclude_keys=[run]", "--cfg", "hydra")
    hydra = OmegaConf.create(done.out).hydra
    assert [one.partition("=")[0] for one in hydra.overrides.task] == ["run", "seed"]
    assert hydra.job.override_dirname == "seed=3"
    assert (hydra.runtime.choices.space, hydra.runtime.choices.recipe) == ("darts", "digits")


def test_what_it_would_build_takes_the_callers_word(folders, run, tmp_path):
    shutil.copytree(folders["search"], tmp_path / "s")
    saved = OmegaConf.load(tmp_path / "s/config.yaml")
    saved.dataset.source = {"_target_": "os.system", "command": f"touch {tmp_path / 'called'}"}
    (tmp_path / "s/config.yaml").write_text(OmegaConf.to_yaml(saved))
    for command in ("evaluate", "export"):
        assert_refused(run(command, f"run={tmp_path / 's'}"), "os.system in its config.yaml was not built")
    assert not (tmp_path / "called").exists()
    saved.dataset.source = {"_target_": "nas.data.digits.Digits", "x=1,hydra": 2}
    (tmp_path / "s/config.yaml").write_text(OmegaConf.to_yaml(saved))
    assert_refused(run("evaluate", f"run={tmp_path / 's'}"), "damaged (key x=1,hydra)")


def test_a_folder_of_an_earlier_version(run, tmp_path):
    folder = unpacked("0.1.0", "drnas", tmp_path)
    done = run("evaluate", f"run={folder}", *SHORT, f"hydra.run.dir={tmp_path / 'e'}")
    assert done.status == 0, done.err
    assert OmegaConf.load(tmp_path / "e/config.yaml").space.name == "nasbench201"


KINDS = {
    "darts": ("method=darts1", *SIZES, "recipe.clip=3.0", "recipe.batch_size=4096", "dataset.cutout=2"),
    "images": (
        "space=nasbench201", "method=random", "space.cells_per_stage=1", "recipe=nasbench201",
        "dataset.split_ratio=0.3",
    ),
    "words": (
        "space=darts_rnn", "method=random", "dataset=wikitext_mini", "space.hidden_size=4",
        "recipe.hidden_size=6", "dataset.batch_size=2",
    ),
    "chains": (
        "space=dso_small", "method=dsonas_random", "space.init_channels=4", "dataset.source.test_seed=3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_it_stands_for_what_the_long_command_says(kind, run, composed, tmp_path, monkeypatch):
    """The long one names space, data and recipe and everything that differs from their files."""
    told = []

    def both(name, config, folder, last=(), **options):
        if name == "evaluate":
            told.append(command_for(name, config, [f"genotype={folder}"], last))
            told.append(short(name, config, folder, last, **options))
        return short(name, config, folder, last, **options)

    short = nas.commands.search_result.command_of
    monkeypatch.setattr(nas.commands.search_result, "command_of", both)
    done = run("search", *KINDS[kind], *SHORT[:2], f"hydra.run.dir={tmp_path / 's'}")
    assert done.status == 0, done.err
    long, short_one = (composed("evaluate", *one.split()[3:]) for one in told)
    assert long.pop("genotype") == short_one.pop("run") == str(tmp_path / "s")
    assert long.pop("run") is short_one.pop("genotype") is None
    for one in (long, short_one):
        # Nothing is fetched to a folder's place; sizes of another space's recipe are read by nobody.
        one.dataset.download = None
    if kind == "chains":
        long.recipe.num_cells = short_one.recipe.num_cells
    assert long == short_one
