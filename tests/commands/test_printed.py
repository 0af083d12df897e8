"""The printed `evaluate:` line trains the network that was priced, on the data that was searched.

The `predict:` line of that training asks its network about a file of the test part, where there are files.
"""

import json
import shlex

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from nas.running.words import quoted
from tests.commands.test_bad_input import assert_refused

NAME = 'run ü \\\\ \\w "it\'s" \\" $HOME #1, [a]={b}'
# Of each kind of data that are files, the first of the test part.
ASKED = {"folder": "a/5.png", "csv": "a/5.png", "corpus": "test.txt"}
SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1")


@pytest.fixture
def pictures(tmp_path):
    """A folder of three classes of small pictures."""
    random = np.random.default_rng(0)
    root = tmp_path / "my pictures"
    for part, count in (("train", 8), ("val", 4)):
        for name in "abc":
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                noise = random.integers(0, 255, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(noise).save(folder / f"{i}.png")
    return root


def printed(done, label="evaluate"):
    """The words of the command behind a label, as a shell takes them, after `python -m nas.<label>`."""
    assert done.status == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith(f"{label}:")]
    words = shlex.split(line.partition(":")[2])
    assert words[:3] == ["python", "-m", f"nas.{label}"]
    return words[3:]


def composed(done):
    assert done.status == 0, done.err
    return OmegaConf.create(done.out)


def same_network(one, other):
    figures = [json.loads((place / "summary.json").read_text()) for place in (one, other)]
    return all(figures[0][key] == figures[1][key] for key in ("params", "macs", "genotype"))


def test_own_pictures_keep_size_classes_and_stem(pictures, run, tmp_path):
    own = [
        "dataset=imagenet", f"dataset.root='{pictures}'", "dataset.source.image_size=16", "dataset.name=pets",
        "dataset.source.num_classes=3", "dataset.num_workers=0", "dataset.batch_size=4", "recipe.stem=cifar",
        "recipe.num_cells=3", "recipe.init_channels=4", "space.num_cells=3", "space.init_channels=4",
        "space.stem=cifar", "recipe.batch_size=8", "recipe.auxiliary_weight=0",
    ]  # fmt: skip
    words = printed(run("search", *own, *SHORT, f"hydra.run.dir={tmp_path / 's'}"))
    assert words == [f"run={tmp_path / 's'}"]
    done = run("evaluate", *words, *SHORT, "dataset.num_workers=0", f"hydra.run.dir={tmp_path / 'e'}")
    assert done.status == 0, done.err
    assert same_network(tmp_path / "s", tmp_path / "e")
    searched, trained = (OmegaConf.load(tmp_path / name / "config.yaml").dataset for name in "se")
    assert trained.source == searched.source and trained.root == searched.root


def test_a_resumed_search_and_its_derivation_print_the_same_network(tiny, run, tmp_path):
    """Neither knows what was typed first; both know the folder."""
    folder = tmp_path / "s"
    typed = ["space=s2", "dataset.augment.pad=0", "recipe.clip=3.0", f"hydra.run.dir={folder}"]
    sizes = [one for one in tiny if not one.startswith("space.num_nodes")]
    first = printed(run("search", *sizes, *typed))
    assert first == [f"run={folder}"]
    (folder / "summary.json").write_text((folder / "summary.json").read_text().replace("finished", "stopped"))
    assert printed(run("search", f"resume={folder}")) == first
    derived = tmp_path / "d"
    words = printed(run("derive", f"run={folder}", "samples=50", f"hydra.run.dir={derived}"))
    assert words == [f"run={derived}"]
    both = [composed(run("evaluate", *one, "--cfg", "job")) for one in (first, words)]
    assert both[0].pop("run") == str(folder) and both[1].pop("run") == str(derived)
    assert both[0] == both[1]
    assert (both[0].space.name, both[0].dataset.augment.pad, both[0].recipe.clip) == ("s2", 0, 3.0)


SPACES = {
    "folder": (
        "dataset=folder dataset.root=own dataset.batch_size=2 dataset.source.image_size=8 dataset.name=pets",
        "darts",
    ),
    "arrays": (
        "dataset=arrays dataset.file=own/a.npz dataset.batch_size=4 dataset.source.fit=resize",
        "nasbench201",
    ),
    "csv": ("dataset=csv dataset.file=own/a.csv dataset.batch_size=2 dataset.source.image_size=8", "darts"),
    "corpus": ("dataset=corpus dataset.root=own dataset.batch_size=2", "darts_rnn"),
    "digits": ("dataset=digits dataset.source.test_seed=3", "dso_small"),
}
SIZES = {
    "darts": "method=random recipe.num_cells=3 recipe.init_channels=4 space.num_cells=3",
    "nasbench201": "method=random space.cells_per_stage=1 space.init_channels=4",
    "darts_rnn": "method=random recipe.hidden_size=4 space.hidden_size=4 dataset.valid_batch_size=2",
    "dso_small": "method=dsonas_random space.init_channels=4",
}


@pytest.mark.parametrize("kind", SPACES)
def test_every_kind_of_data_and_space_is_evaluated_as_printed(kind, run, tmp_path, monkeypatch):
    """From a folder where what was typed relative to another one would be found no more."""
    home = tmp_path / NAME
    place = home / "own"
    random = np.random.default_rng(0)
    for name in "ab":
        (place / name).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(random.integers(0, 255, (9, 11), dtype=np.uint8)).save(place / name / f"{i}.png")
    rows = [f"{name}/{i}.png,{name}\n" for name in "ab" for i in range(6)]
    (place / "a.csv").write_text("file,label\n" + "".join(rows))
    np.savez(place / "a.npz", images=random.integers(0, 255, (20, 7, 7), dtype=np.uint8), labels=[0, 1] * 10)
    for part in ("train", "valid", "test"):
        (place / f"{part}.txt").write_text("a few words on a line\n" * 20)
    typed, space = SPACES[kind]
    monkeypatch.chdir(home)
    given = [f"space={space}", *typed.split(), *SIZES[space].split(), "size=null"]
    printed_words = printed(run("search", *given, f"hydra.run.dir={quoted(home / 's')}"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    short = [*SHORT, "trainer.limit_test_batches=1"]
    done = run("evaluate", *printed_words, *short, f"hydra.run.dir={quoted(home / 'e')}")
    assert done.status == 0, (printed_words, done.err)
    assert same_network(home / "s", home / "e")
    searched, trained = (OmegaConf.load(home / name / "config.yaml").dataset for name in "se")
    assert trained.source == searched.source and trained.name == searched.name
    words = printed(done, "predict")
    if kind in ASKED:
        assert words[1] == f"input={quoted(place / ASKED[kind])}"
        done = run("predict", *words, f"hydra.run.dir={tmp_path / 'p'}")
        assert done.status == 0 and f"predictions: {tmp_path / 'p'}" in done.out, (words, done.err)
    else:
        # No file holds the picture, and whoever pastes the line is told so.
        assert words[1] == 'input="<your picture>"'
        assert_refused(run("predict", *words, f"hydra.run.dir={tmp_path / 'p'}"), "<your picture>")


def test_what_is_printed_runs_wherever_the_folder_lies(tiny, run, tmp_path):
    """Every line that a run prints, taken apart by a shell and executed, means the very folder."""
    folder = tmp_path / NAME
    words = printed(run("search", *tiny, f"hydra.run.dir={quoted(folder)}"))
    folder_of_evaluation = f"hydra.run.dir={quoted(tmp_path / 'evaluated' / NAME)}"
    done = run("evaluate", *words, *SHORT, "test=false", folder_of_evaluation)
    assert done.status == 0, done.err
    assert same_network(folder, tmp_path / "evaluated" / NAME)
    change(folder, status="stopped")
    table = run("sweeps", f"folder={quoted(folder.parent)}", "figure=null")
    (again,) = [line.strip().strip("`") for line in table.out.splitlines() if "resume=" in line]
    done = run("search", *shlex.split(again)[3:])
    assert done.status == 0, done.err
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"


def test_a_folder_whose_name_is_a_reference_is_refused_in_words(run, tmp_path, monkeypatch):
    place = tmp_path / "a ${USER}"
    place.mkdir()
    monkeypatch.chdir(place)
    done = run("search", "--cfg", "job")
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert "${ in a folder's name" in done.err
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_OUTPUTS", str(place))
    done = run("search")
    assert done.status == 2
    assert "NAS_OUTPUTS" in done.err
    assert "${ in a folder's name" in done.err


def change(folder, **values):
    file = folder / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
