"""Parts of a method that are somebody else's: a class in a module of their own, a YAML file beside ours."""

import re
import sys

import pytest
from omegaconf import OmegaConf

TINY = ("debug=fast", "traceback=false", "dataset=digits", "space=nasbench201")
CODE = '''
import pathlib

import nas.methods


class Cooling(nas.methods.Relaxation):
    """A softmax that hardens; notes the epochs that it is told of."""

    def __init__(self, start: float = 1.0, ranking: str = "its own", **others):
        self.start = self.temperature = start
        pathlib.Path(__file__).with_name("made").open("a").write(f"{start} {ranking} {others}\\n")

    def begin_epoch(self, epoch, max_epochs):
        self.temperature = self.start * (1 - epoch / max_epochs)
        pathlib.Path(__file__).with_name("told").open("a").write(f"{epoch}/{max_epochs} ")

    def op_weights(self, alpha_EO):
        with pathlib.Path(__file__).with_name("told").open("a") as file:
            file.write("w ")
        return (alpha_EO / self.temperature).softmax(-1)

    def strengths(self, alpha_EO):
        return (alpha_EO / self.temperature).softmax(-1)
'''


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """`theirs(base) -> folder of configurations`: a method that is `base` but for its relaxation."""
    (tmp_path / "theirs.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("theirs", None)

    def write(base, name="theirs", node="{_target_: theirs.Cooling, start: 3.0}"):
        folder = tmp_path / "conf"
        (folder / "method").mkdir(parents=True, exist_ok=True)
        text = f"defaults: [{base}]\nname: {name}\nrelaxation: {node}\n"
        (folder / "method" / f"{name}.yaml").write_text(text)
        return folder

    return write


def made(folder):
    return (folder.parent / "made").read_text().splitlines()


def told(folder):
    """The epochs that the relaxation was told of, each with whether a step was taken in it."""
    return re.sub(r"(w )+", "w ", (folder.parent / "told").read_text()).split()


@pytest.mark.parametrize("way", ["--config-dir={}", "hydra.searchpath=[file://{}]"])
def test_a_class_and_a_file_are_all_it_takes(way, theirs, run, tmp_path):
    """Options of the part of the base, which has some in drnas, are not this one's."""
    folder = theirs("drnas")
    words = ("method=theirs", "method.warmup_epochs=0", f"hydra.run.dir={tmp_path / 'run'}")
    done = run("search", *TINY, *words, way.format(folder))
    assert done.status == 0, done.err
    assert made(folder) == ["3.0 its own {}"]
    saved = OmegaConf.load(tmp_path / "run/config.yaml").method
    assert saved.relaxation == {"_target_": "theirs.Cooling", "start": 3.0}
    assert saved.name == "theirs" and saved.weight_optimizer.lr == 0.1


def test_a_class_that_is_named_again_begins_anew(theirs, run, tmp_path):
    """A file that derives from somebody's file, and the command line."""
    folder = theirs("darts1")
    theirs("theirs", "again", "{_target_: theirs.Cooling, ranking: told}")
    theirs("again", "back", "{_target_: nas.methods.relaxations.Softmax}")
    theirs("back", "forth", "{_target_: theirs.Cooling}")
    for number, words in enumerate(
        (
            ("method=again",),
            ("method=forth",),
            ("method=drnas", "method.warmup_epochs=0", "method.relaxation._target_=theirs.Cooling"),
            ("method=theirs", "method.relaxation.start=2.0"),
        )
    ):
        done = run(
            "search", *TINY, *words, f"hydra.run.dir={tmp_path / str(number)}", f"--config-dir={folder}"
        )
        assert done.status == 0, done.err
    assert made(folder) == ["3.0 told {}", "1.0 its own {}", "1.0 its own {}", "2.0 its own {}"]


def test_epochs_are_told_before_their_first_step_and_after_a_resume(theirs, run, tmp_path):
    folder, place = theirs("darts1"), tmp_path / "run"
    words = ("method=theirs", "trainer.max_epochs=3", f"hydra.run.dir={place}", f"--config-dir={folder}")
    assert run("search", *TINY, *words).status == 0
    expected = ["0/3", "w", "1/3", "w", "2/3", "w"]
    assert told(folder) == expected
    (folder.parent / "told").unlink()
    before = (place / "architecture.csv").read_text()
    (place / "checkpoints/epoch=0003.ckpt").unlink()
    refused = run("search", f"resume={place}")
    assert refused.status == 2 and "method.relaxation._target_=theirs.Cooling" in refused.err
    assert run("search", f"resume={place}", "trust=theirs").status == 0
    assert told(folder) == expected[4:]
    assert (place / "architecture.csv").read_text() == before


def test_a_stage_is_told_of_the_epochs_of_the_whole_search(theirs, run, tmp_path):
    folder = theirs("drnas_nb201_progressive")
    stages = "method.stages=[{epochs: 1, partial: 2}, {epochs: 2, partial: 1, keep: 3}]"
    words = ("method=theirs", stages, "trainer.max_epochs=3", f"hydra.run.dir={tmp_path / 'run'}")
    assert run("search", *TINY, *words, f"--config-dir={folder}").status == 0
    assert [word for word in told(folder) if word != "w"] == ["0/3", "1/3", "2/3"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("method.ranking=mean", "method.ranking=mean: only for method.relaxation=dirichlet"),
        ("+method.relaxation.strat=1", "method.relaxation.strat=1: unknown key"),
        ("method.update=third_order", "method.update=third_order: unknown update; known are first_order"),
        ("method.relaxation=3", "method.relaxation=3: unknown relaxation; known are softmax"),
    ],
)
def test_what_no_part_reads_is_refused(word, message, theirs, run, tmp_path):
    folder = theirs("drnas")
    (folder.parent / "theirs.py").write_text(CODE.replace(", **others", "").replace(" {others}", ""))
    done = run("search", *TINY, "method=theirs", word, f"--config-dir={folder}")
    assert done.status == 2 and message in done.err and done.err.count("\n") == 1, done.err


def test_short_keys_of_somebody_elses_are_claimed_by_their_part(theirs, run, tmp_path):
    folder = theirs("darts1", node="{_target_: theirs.Cooling, start: '${method.heat}'}\nheat: 5.0")
    place = tmp_path / "run"
    words = ("method=theirs", "method.heat=4.0", f"hydra.run.dir={place}", f"--config-dir={folder}")
    done = run("search", *TINY, *words)
    assert done.status == 0, done.err
    assert made(folder) == ["4.0 its own {}"]
    (place / "checkpoints/epoch=0001.ckpt").unlink()
    assert run("search", f"resume={place}", "trust=theirs").status == 0
    assert made(folder) == ["4.0 its own {}"] * 2
    theirs("darts1", node="{_target_: theirs.Cooling}\nhaet: 5.0")
    done = run("search", *TINY, "method=theirs", f"--config-dir={folder}")
    assert done.status == 2 and "method.haet=5.0: unknown key, nothing reads it" in done.err


def test_words_and_nodes_are_the_same_method(run, tmp_path):
    """`method=darts2` and `method=darts1 method.update=unrolled` differ in their name alone."""
    found = []
    for name, words in {"a": ("method=darts2",), "b": ("method=darts1", "method.update=unrolled")}.items():
        done = run("search", *TINY, *words, "method.xi=0.1", f"hydra.run.dir={tmp_path / name}")
        assert done.status == 0, done.err
        found.append(OmegaConf.load(tmp_path / name / "config.yaml").method)
    assert found[0]["update"] == found[1]["update"] and found[0]["update"].xi == 0.1
    assert (tmp_path / "a/architecture.csv").read_text() == (tmp_path / "b/architecture.csv").read_text()


@pytest.mark.parametrize(
    "words",
    [
        "+method.regularizers.b={_target_:nas.methods.regularizers.BetaDecay,weight:3}",
        "+method.regularizers.b._target_=nas.methods.regularizers.BetaDecay",
        "method.perturbation={_target_:nas.methods.perturbations.Random}",
        "+method.perturbation._target_=nas.methods.perturbations.Random",
    ],
)
def test_a_part_that_the_method_has_not_is_added_where_it_is_typed(words, run, tmp_path):
    """Looked at by a plan, which composes, builds and measures."""
    done = run("search", *TINY, "method=darts1", "plan=true", words, f"hydra.run.dir={tmp_path / 'a'}")
    assert (done.status, done.err) == (0, "")
    assert not (tmp_path / "a").exists()
