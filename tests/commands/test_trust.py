"""A run folder may be a stranger's: what it names is built only if a list, or the caller, allows it."""

import importlib
import json
import shlex
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.commands.test_bad_input import assert_refused
from tests.conftest import ROOT, TINY

SIZES = [one for one in TINY if not one.startswith("space.")]
CODE = """
import pathlib
pathlib.Path(__file__).with_name("imported").touch()
from nas.data.digits import Digits
from torch.optim import SGD as Plain

def call(*args, **kwargs):
    pathlib.Path(__file__).with_name("called").touch()
    raise RuntimeError("this is the stranger's code")

class Source(Digits):
    def __init__(self, test_seed=0, shade=1):
        super().__init__(test_seed)
        self.shade = shade
"""
# Key of the saved configuration -> the commands that would build it.
BUILT = {
    "space": ("search", "evaluate", "derive", "export", "predict"),
    "dataset.source": ("search", "evaluate", "derive", "export", "predict"),
    "method": ("search", "derive"),
    "method.weight_optimizer": ("search", "derive"),
    "method.architecture_optimizer": ("search", "derive"),
    "method.weight_scheduler": ("search", "derive"),
    "recipe.optimizer": ("evaluate",),
    "recipe.scheduler": ("evaluate",),
    "trainer.profiler": ("search", "evaluate"),
    "hardware.strategy": ("search", "evaluate"),
    "tabular": ("search",),
    "analysis.hessian": ("search",),
}
PAIRS = [(key, command) for key, commands in BUILT.items() for command in commands]


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """Folders of a finished search and a finished evaluation."""
    folder = tmp_path_factory.mktemp("honest")
    patch = pytest.MonkeyPatch()
    for name, words in (("search", TINY), ("evaluate", [*SIZES, "genotype=DARTS_V1", "test=false"])):
        patch.setattr("sys.argv", [f"nas.{name}", *words, f"hydra.run.dir={folder / name}"])
        try:
            importlib.import_module(f"nas.{name}").main()
        except SystemExit as end:
            assert not end.code
    patch.undo()
    return folder


@pytest.fixture
def stranger(honest, tmp_path, monkeypatch):
    """`stranger("search", {"space": {...}}) -> folder`: a copy whose config.yaml says something else."""
    place = tmp_path / "code"
    place.mkdir()
    (place / "strangers_code.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.delitem(__import__("sys").modules, "strangers_code", raising=False)

    def call(command, changes):
        folder = tmp_path / "run"
        shutil.copytree(
            honest / ("evaluate" if command in ("evaluate", "export", "predict") else "search"), folder
        )
        saved = OmegaConf.load(folder / "config.yaml")
        for key, value in changes.items():
            OmegaConf.update(saved, key, value, force_add=True, merge=False)
        (folder / "config.yaml").write_text(OmegaConf.to_yaml(saved))
        return folder

    return call


def words_of(command, folder):
    key = {"derive": "run", "export": "genotype", "predict": "model"}.get(command, "resume")
    return [f"{key}={folder}"]


def untouched(tmp_path):
    return not (tmp_path / "code/imported").exists() and not (tmp_path / "code/called").exists()


@pytest.mark.parametrize(("key", "command"), PAIRS)
def test_each_key_of_a_folder_is_refused_before_anything_is_imported(key, command, stranger, run, tmp_path):
    folder = stranger(command, {key: {"_target_": "strangers_code.call"}})
    done = run(command, *words_of(command, folder))
    assert_refused(done, f"{key}._target_=strangers_code.call", "trust=strangers_code")
    if key in ("space", "dataset.source", "recipe.optimizer"):
        done = run("evaluate", f"run={folder}")
        assert_refused(done, f"{key}._target_=strangers_code.call", "trust=strangers_code")
    assert untouched(tmp_path)


def test_the_word_that_is_advised_is_no_wider_than_it_must_be(stranger, run):
    """What lies beside the module, such as torch.load and torch.hub, is not allowed along with it."""
    folder = stranger("search", {"space": {"_target_": "torch.optim.SGD"}})
    done = run("search", *words_of("search", folder))
    assert_refused(done, "space._target_=torch.optim.SGD")
    assert done.err.strip().endswith("say trust=torch.optim")


OURS = {
    "trainer.logger": "{_target_: pytorch_lightning.loggers.CSVLogger, save_dir: /tmp}",
    "trainer.plugins": "[]",
}


@pytest.mark.parametrize("key", OURS)
def test_what_the_project_gives_lightning_itself_is_neither_typed_nor_saved(key, stranger, run):
    node = OmegaConf.create(OURS[key])
    words = (f"{key}=", "this project sets it itself")
    assert_refused(run("search", *TINY, f"+{key}={OURS[key]}"), *words)
    folder = stranger("search", {key: node})
    for word in ([], ["trust=pytorch_lightning"]):
        assert_refused(run("search", *words_of("search", folder), *word), *words, "config.yaml")


STRANGE = {"_target_": "strangers_code.call"}
DIGITS = {"_target_": "nas.data.digits.Digits"}
TRICKS = {
    "a pickle": {"_target_": "torch.load", "f": "FILE", "weights_only": False},
    "a local hub": {"_target_": "torch.hub.load", "repo_or_dir": "FILE", "source": "local", "model": "x"},
    "nested": {**DIGITS, "test_seed": STRANGE},
    "in a list": {**DIGITS, "test_seed": [STRANGE]},
    "partial": {**STRANGE, "_partial_": True},
    "arguments by place": {**DIGITS, "_args_": [STRANGE]},
    "plain arguments by place": {**DIGITS, "_args_": [0]},
    "from the environment": {"_target_": "${oc.env:STRANGER}"},
    "by a resolver of ours": {**DIGITS, "test_seed": "${nas.run_dir:null,/tmp/x}"},
    "no name": {"_target_": STRANGE},
    "not text": {"_target_": 3},
    "by way of a listed module": {"_target_": "nas.data.digits.load_digits.__globals__"},
    "another key's class": {"_target_": "torch.optim.SGD"},
    "hydra's own": {"_target_": "hydra.utils.instantiate", "config": STRANGE},
}


@pytest.mark.parametrize("trick", TRICKS)
def test_no_way_around_the_list(trick, stranger, run, tmp_path, monkeypatch):
    monkeypatch.setenv("STRANGER", "strangers_code.call")
    folder = stranger("search", {"dataset.source": TRICKS[trick]})
    done = run("search", *words_of("search", folder))
    words = ("interpolation" if "${" in str(TRICKS[trick]) else "dataset.source", "config.yaml")
    assert_refused(done, *words)
    # What it says becomes overrides, before those that are typed.
    assert_refused(run("evaluate", f"run={folder}", "test=false"), *words)
    assert untouched(tmp_path)


PROFILER = {"_target_": "pytorch_lightning.profilers.SimpleProfiler"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trainer.default_root_dir", "/tmp/elsewhere"),
        ("trainer.profiler", {**PROFILER, "dirpath": "/tmp"}),
        ("trainer.profiler", {**PROFILER, "filename": "../x"}),
        ("trainer.profiler", {**PROFILER, "filename": "x"}),
        ("trainer.profiler", "../../x"),
        ("tabular", {"name": "natsbench", "file": "/tmp/NATS", "metric": "auto", "epochs": 200}),
    ],
)
def test_a_folder_names_no_other_place(key, value, stranger, run):
    folder = stranger("search", {key: value})
    assert_refused(run("search", *words_of("search", folder)), key)


def test_hydras_own_keys_and_the_outputs_of_a_folder_say_nothing(stranger, run, tmp_path):
    there = tmp_path / "outputs of the stranger"
    sweeper = {"_target_": "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"}
    hydra = {"run": {"dir": str(there)}, "sweeper": sweeper, "searchpath": [f"file://{there}"]}
    folder = stranger("search", {"outputs": str(there), "hydra": hydra, "trust": "strangers_code"})
    done = run("search", *words_of("search", folder))
    assert_refused(done, "hydra.sweeper._target_")
    folder_without = OmegaConf.load(folder / "config.yaml")
    folder_without.hydra.pop("sweeper")
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(folder_without))
    done = run("search", *words_of("search", folder), "trainer.enable_progress_bar=false")
    assert done.status == 0, done.err
    assert not there.exists()


@pytest.fixture
def sent(monkeypatch):
    """The `logger` settings of each run that would have opened one; none is opened."""
    found = []

    def build(settings, *_):
        found.append(dict(settings))
        raise RuntimeError("no server here")

    monkeypatch.setattr("nas.commands.search_training.build_logger", build)
    monkeypatch.setattr("wandb.login", lambda **_: True)
    return found


WANDB = {
    "name": "wandb",
    "offline": False,
    "project": "theirs",
    "entity": "stranger",
    "group": None,
    "tags": [],
}


def test_a_folder_sends_nothing_off_with_the_callers_key(stranger, run, sent):
    folder = stranger("search", {"logger": WANDB})
    words = words_of("search", folder)
    (folder / "overrides.yaml").write_text(OmegaConf.to_yaml(["logger=wandb", "logger.entity=stranger"]))
    for more in ([], ["trust=wandb"]):
        done = run("search", *words, *more)
        assert_refused(done, "logger.name=wandb", "entity stranger", "say logger=wandb", "logger=csv")
        assert done.err.count("\n") == 1
    assert sent == []
    go_on(folder)
    assert run("search", *words, "logger=wandb").status == 1
    assert sent.pop() == WANDB | {"project": "nas", "entity": None}
    assert run("search", *words, "logger=wandb", "logger.offline=true").status == 1
    assert sent.pop()["offline"] is True
    (folder / "wandb").mkdir()
    (folder / "wandb/settings").write_text("[default]\nbase_url = https://stranger.example\n")
    assert_refused(run("search", *words, "logger=wandb"), "wandb/settings")
    assert sent == []


def test_a_run_of_ones_own_goes_on_sending_as_printed(run, sent, tmp_path):
    own = ["logger=wandb", "logger.project=my project", "logger.tags=[a,'7']", "logger.entity=me"]
    done = run("search", *TINY, *own, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.status == 1
    words = shlex.split(done.err.partition("start it once more with: ")[2])
    assert words[:3] == ["python", "-m", "nas.search"]
    assert run("search", *words[3:]).status == 1
    assert sent[0] == sent[1]
    assert (sent[0]["project"], sent[0]["tags"]) == ("my project", ["a", "7"])


def go_on(folder):
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"status": "stopped"}))


def test_a_folder_cannot_trust_for_the_caller(stranger, run, tmp_path):
    source = {"_target_": "strangers_code.Source", "test_seed": 0}
    folder = stranger("search", {"dataset.source": source, "trust": ["strangers_code"]})
    typed = ["trust=strangers_code", "dataset.source._target_=strangers_code.Source"]
    (folder / "overrides.yaml").write_text(OmegaConf.to_yaml(typed))
    assert_refused(run("search", *words_of("search", folder)), "trust=strangers_code")
    assert untouched(tmp_path)


@pytest.mark.parametrize(
    "word", ["trust=strangers_code", "trust=[other,strangers_code]", "trust=strangers_code.Source"]
)
def test_the_callers_word_is_enough(word, stranger, run, tmp_path):
    folder = stranger("search", {"dataset.source": {"_target_": "strangers_code.Source", "test_seed": 0}})
    done = run("search", *words_of("search", folder), word)
    assert done.status == 0, done.err
    assert (tmp_path / "code/imported").exists()
    assert "trust" not in OmegaConf.load(folder / "config.yaml")


@pytest.mark.parametrize("word", ["trust=strangers", "trust=other", "trust=a/b", "trust=[1]", "trust={a:b}"])
def test_another_word_is_not(word, stranger, run, tmp_path):
    folder = stranger("search", {"dataset.source": {"_target_": "strangers_code.Source", "test_seed": 0}})
    assert_refused(run("search", *words_of("search", folder), word), "trust")
    assert untouched(tmp_path)


def test_a_typed_folder_of_configurations_vouches_for_what_its_files_name(stranger, run, tmp_path):
    """And for nothing else: neither a comment nor another class of the same module."""
    own = tmp_path / "own/dataset"
    own.mkdir(parents=True)
    text = (ROOT / "conf/dataset/digits.yaml").read_text()
    (own / "theirs.yaml").write_text(
        text.replace("nas.data.digits.Digits", "strangers_code.Source") + "# _target_: strangers_code.call\n"
    )
    folder = stranger("search", {"dataset.source": {"_target_": "strangers_code.Source", "test_seed": 0}})
    for word in (f"--config-dir={tmp_path / 'own'}", f"hydra.searchpath=[file://{tmp_path / 'own'}]"):
        done = run("search", *words_of("search", folder), word)
        assert done.status == 0, done.err
    saved = OmegaConf.load(folder / "config.yaml")
    saved.dataset.source = {"_target_": "strangers_code.call"}
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(saved))
    done = run("search", *words_of("search", folder), f"--config-dir={tmp_path / 'own'}")
    assert_refused(done, "dataset.source._target_=strangers_code.call")


def test_printed_commands_repeat_what_the_caller_gave_and_run_as_printed(run, stranger, tmp_path):
    """A source of one's own by its import path, with an argument: searched and evaluated, as printed."""
    stranger("search", {})
    folder = tmp_path / "own run"
    typed = ["dataset.source._target_=strangers_code.Source", "+dataset.source.shade=7", "dataset.name=own"]
    typed += ["recipe.clip=4.5", "trust=strangers_code"]
    done = run("search", *TINY, *typed, f"hydra.run.dir='{folder}'")
    assert done.status == 0, done.err
    assert "trust" not in (folder / "overrides.yaml").read_text() + (folder / "config.yaml").read_text()
    line = next(line for line in done.out.splitlines() if line.startswith("evaluate:"))
    words = shlex.split(line.removeprefix("evaluate:"))
    assert words[:3] == ["python", "-m", "nas.evaluate"] and "trust=strangers_code" in words
    short = [
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "test=false",
        f"hydra.run.dir={tmp_path / 'e'}",
    ]
    evaluated = run("evaluate", *words[3:], *short)
    assert evaluated.status == 0, evaluated.err
    searched, trained = (OmegaConf.load(place / "config.yaml") for place in (folder, tmp_path / "e"))
    assert trained.dataset.source == searched.dataset.source
    assert trained.recipe.clip == 4.5 and trained.dataset.name == "own"
    summaries = [json.loads((place / "summary.json").read_text()) for place in (folder, tmp_path / "e")]
    assert summaries[0]["params"] == summaries[1]["params"] and summaries[0]["macs"] == summaries[1]["macs"]


def test_a_run_under_the_profiler_is_continued(run, tmp_path):
    """The profiler's place is the run folder; a copy of the folder elsewhere is told how to go on."""
    folder = tmp_path / "run"
    node = ",".join([*(f"{key}:{value}" for key, value in PROFILER.items()), "filename:times"])
    words = [f"trainer.profiler={{{node},dirpath:'{folder}'}}", f"hydra.run.dir={folder}"]
    assert run("search", *TINY, *words).status == 0
    assert (folder / "fit-times.txt").exists()
    assert run("search", f"resume={folder}").status == 0
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    assert_refused(run("search", f"resume={moved}"), "trainer.profiler.dirpath", "trainer.profiler=null")
    assert run("search", f"resume={moved}", "trainer.profiler=null").status == 0
