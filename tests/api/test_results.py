"""What a result tells and shows; the trained network with its preprocessing, and how it leaves."""

import subprocess
import sys
import xml.etree.ElementTree as xml

import numpy as np
import pytest
import rich.console
import torch
from PIL import Image

import nas
from nas.analysis.confusion import read_confusion
from nas.engine import progress
from nas.formats.onnx_model import load_onnx
from nas.formats.pictures import read_pictures
from nas.formats.weights import load_safetensors
from nas.reading.pictures import decode
from tests.api.small import SIZES, WORDS, evaluate, search
from tests.conftest import ROOT
from tests.forks import finish

LATER = ("torch", "pytorch_lightning", "matplotlib", "timm", "hydra", "numpy")


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """Pictures of two classes in a folder, of uneven sizes."""
    folder = tmp_path_factory.mktemp("data") / "pets and others"
    numbers = np.random.default_rng(0)
    for index in range(40):
        place = folder / ["cat", "dog"][index % 2]
        place.mkdir(parents=True, exist_ok=True)
        size = (12 + index % 5, 11 + index % 3, 3)
        Image.fromarray(numbers.integers(0, 256, size, np.uint8)).save(place / f"{index:02d}.png")
    return folder


@pytest.fixture(scope="module")
def trained(pets, tmp_path_factory):
    """A trained network of a published cell."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    return evaluate(
        "DARTS_V2", nas.datasets.folder(pets, image_size=8), more=SIZES, folder=folder, metrics=["f1", "mcc"]
    )


def test_an_evaluation_measures_what_it_is_asked_for(trained):
    found = trained.summary
    assert 0 <= found["test_f1"] <= 1 and -1 <= found["test_mcc"] <= 1 and "test_auroc" not in found
    counts = read_confusion(trained.folder / "confusion.csv")
    assert counts.names == ("cat", "dog") and sum(map(sum, counts.counts)) == 8
    right = counts.counts[0][0] + counts.counts[1][1]
    assert trained.accuracy == pytest.approx(right / 8)
    with pytest.raises(nas.ConfigError, match="metrics=top2: needs 3 classes"):
        evaluate(trained, metrics=["top2"])


def test_the_package_is_cheap_and_says_what_it_has():
    code = f"import sys, nas; print(sorted(set({LATER!r}) & set(sys.modules))); print(*dir(nas))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy, names = done.stdout.splitlines()
    assert heavy == "[]" and set(nas.__all__) <= set(names.split())
    for name in nas.__all__:
        assert getattr(nas, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'run_serch'"):
        nas.run_serch  # noqa: B018
    assert nas.ConfigError.__module__ == "nas.errors" and issubclass(nas.Interrupted, KeyboardInterrupt)


CODE = """
import nas
from nas.analysis.confusion import read_confusion
words = %r
for number in range(2):
    options = {"epochs": 1, "batch_size": 16, "verbose": False, "overrides": words}
    found = nas.run_search("digits", folder=f"runs/{number}", **options)
    print(found.genotype, [row["architecture_loss"] for row in found.metrics])
print(found.folder)
"""


def test_a_program_in_another_folder(tmp_path):
    """Relative folders are the program's, its folder stays, and a second call is as the first."""
    place = tmp_path / "somebody's work"
    place.mkdir()
    done = finish([sys.executable, "-c", CODE % WORDS], cwd=place)
    assert done.returncode == 0, done.stderr
    first, second, folder = done.stdout.splitlines()
    assert first == second and folder == str(place / "runs" / "1")
    assert sorted(path.name for path in place.iterdir()) == ["runs"]


LINES = {
    "train": "the cat sat on a mat\nthe dog sat\n" * 9,
    "valid": "a cat\n" * 9,
    "test": "the mat sat\n" * 9,
}


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """A search on text of one's own, and the training of what it has found."""
    folder = tmp_path_factory.mktemp("text")
    for part, text in LINES.items():
        (folder / f"{part}.txt").write_text(text)
    sizes = ["space.hidden_size=4", "space.num_nodes=2", "recipe.hidden_size=4", "recipe.embedding_size=4"]
    few = ["dataset.valid_batch_size=2", "dataset.batch_size=4", "size=null"]
    options = {"epochs": 1, "verbose": False}
    text = nas.datasets.corpus(folder)
    found = nas.run_search(
        text, space="darts_rnn", method="darts1_rnn", folder=folder / "a", overrides=[*sizes, *few], **options
    )
    batch = ["recipe.batch_size=4", few[0]]
    return found, nas.run_evaluation(found, folder=folder / "b", overrides=batch, **options)


def test_a_model_of_text(language, tmp_path):
    found, trained = language
    assert found.genotype.space == "darts_rnn" and found.status == "finished"
    assert trained.accuracy is None
    model = trained.model
    words = {"the", "cat", "sat", "on", "a", "mat", "dog", "<eos>"}
    assert isinstance(model, nas.LanguageModel) and set(model.words) == words
    # What the evaluation has measured, in one column as well.
    assert model.perplexity(LINES["test"]) == pytest.approx(trained.summary["test_perplexity"], rel=1e-4)
    said = model.predict("the cat", count=3)
    assert [one.after for one in said] == ["the", "cat"]
    for one in said:
        shares = list(one.probabilities.values())
        assert len(shares) == 3 and shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1
    whole = model.predict("a", count=99)[0].probabilities
    assert len(whole) == 8 and sum(whole.values()) == pytest.approx(1)
    for text, told in (("a bird", "bird is not among the 8 words"), (" ", "no word")):
        with pytest.raises(nas.ConfigError, match=told):
            model.predict(text)
    with pytest.raises(nas.ConfigError, match="one word"):
        model.perplexity("a")
    kept = load_safetensors(model.export(tmp_path / "text.safetensors"))
    tokens, state = torch.tensor([1]), torch.zeros(1, 4)
    assert torch.equal(kept(tokens, state)[0], model(tokens)[0])
    with pytest.raises(nas.ConfigError, match="format=timm"):
        model.export(tmp_path / "text", format="timm")


def test_a_bar_where_somebody_sees_it(monkeypatch):
    """At a terminal, and in a notebook that has widgets."""

    class Stream:
        def isatty(self):
            return False

    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(sys, "stdout", Stream())
    assert not progress.wants_bar()
    for none in (None, object()):
        monkeypatch.setattr(sys, "stdout", none)
        assert not progress.wants_bar()
    monkeypatch.setattr(sys, "stdout", Stream())
    # Tables go where all else goes that is printed: in a kernel too, if that stream stands for its own.
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    assert not progress.console().is_jupyter
    monkeypatch.setattr(Stream, "__module__", "ipykernel.iostream")
    assert progress.console().is_jupyter
    for there in (True, False):
        monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name, there=there: there or None)
        assert progress.wants_bar() is there
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setenv("CI", "1")
    assert not progress.wants_bar()


@pytest.mark.pictures
def test_a_result_is_shown(tmp_path):
    found = search(method="random")
    assert "run_search" not in repr(found) and "finished" in repr(found)
    page = found._repr_html_()
    assert page.count("<svg") == 1 and found.genotype.to_text() in page.replace("&#x27;", "'")
    found = search()
    page = found._repr_html_()
    assert page.count("<svg") == 2 and str(found.folder) in page
    for what in ("cell", "curves"):
        picture = found.plot(what)
        assert xml.fromstring(picture._repr_svg_()).tag.endswith("svg")
        assert picture.save(tmp_path / f"{what}.svg").read_text() == picture.svg
        with pytest.raises(nas.ConfigError, match=r"must end in \.svg"):
            picture.save(tmp_path / f"{what}.png")
    with pytest.raises(nas.ConfigError, match="plot=cells: unknown; known are cell, curves"):
        found.plot("cells")


def test_hostile_text_is_text(tmp_path):
    (tmp_path / "config.yaml").write_text("command: search\n")
    (tmp_path / "summary.json").write_text('{"status": "finished", "dataset": "<script>alert(1)</script>"}')
    page = nas.load(tmp_path)._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page and "finished" in page


def test_a_folder_is_loaded_whatever_it_is(trained, tmp_path):
    again = nas.load(trained.folder)
    assert type(again) is nas.EvaluationResult and again.accuracy == trained.accuracy
    assert again.genotype == trained.genotype and again.metrics[0]["epoch"] == 0
    with pytest.raises(nas.ConfigError, match="no run folder there"):
        nas.load(tmp_path)
    for take in (nas.load, nas.resume, lambda given: trained.model.export(given)):
        with pytest.raises(nas.ConfigError, match="=None: must be a path"):
            take(None)
    with pytest.raises(nas.ConfigError, match="folder=3: must be a path"):
        evaluate(trained, folder=3)
    (tmp_path / "config.yaml").write_text("command: cost\n")
    with pytest.raises(nas.ConfigError, match=r"a run of nas\.cost; one of search, derive, evaluate"):
        nas.load(tmp_path)


def test_the_model_reads_pictures_as_the_test_did(trained, pets):
    model = trained.model
    assert isinstance(model, torch.nn.Module) and not model.training
    assert model.classes == ("cat", "dog") and model.image_shape == (3, 8, 8)
    files = sorted(pets.glob("*/*.png"))[:5]
    with torch.no_grad():
        expected = model.network(read_pictures(files, model.description.preprocessing)).softmax(1)
    found = model.predict(files)
    assert torch.allclose(
        torch.tensor([list(one.probabilities.values()) for one in found]), expected, atol=1e-6
    )
    assert [one.label for one in found] == [model.classes[i] for i in expected.argmax(1)]
    opened = [decode(str(file), "RGB", "picture") for file in files]
    close = model.predict([np.asarray(one) for one in opened])
    for kind in (str(files[0]), opened[0], Image.open(files[0])):
        (alone,) = model.predict(kind)
        assert alone.label == found[0].label and alone.probability == pytest.approx(found[0].probability)
    # A tensor is scaled by torch's own way, a picture by pillow's.
    assert [one.index for one in close] == [one.index for one in found]
    assert model.predict([]) == []


def test_forward_takes_whole_batches_and_has_gradients(trained):
    model = trained.model
    images = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    assert torch.allclose(model(images), model(images / 255), atol=1e-6)
    inputs = (images / 255).requires_grad_()
    model(inputs).sum().backward()
    assert inputs.grad.abs().sum() > 0
    for wrong in (images[0], images[:, :1], images.int(), images[:, :, :4]):
        with pytest.raises(nas.ConfigError, match="images are torch"):
            model(wrong)
    for wrong in (images.numpy(), images.tolist(), None):
        with pytest.raises(nas.ConfigError, match="must be a tensor"):
            model(wrong)
    for wrong in (None, 5):
        with pytest.raises(nas.ConfigError, match=r"pictures=.*must be a path, picture"):
            model.predict(wrong)
    with pytest.raises(nas.ConfigError, match="batch_size=0: must be a whole number"):
        model.predict(images, batch_size=0)
    with pytest.raises(nas.ConfigError, match="no such file"):
        model.predict("nowhere.png")
    with pytest.raises(nas.ConfigError, match="has 2 channels"):
        model.predict(torch.zeros(2, 8, 8))


def test_the_model_leaves_for_other_programs(trained, tmp_path):
    model = trained.model
    images = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    mean, std = model.mean_C11, model.std_C11
    prepared = (images / 255 - mean) / std
    expected = model(images)
    onnx = load_onnx(model.export(tmp_path / "pets of mine.onnx"))
    assert torch.allclose(onnx(prepared), expected, atol=1e-4)
    kept = load_safetensors(model.export(tmp_path / "pets.safetensors"))
    assert torch.allclose(kept(prepared), expected, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pets of mine.onnx", "pets.safetensors"]
    # A model that its owner trains on stays as it is.
    model.train()
    model.export(tmp_path / "again.safetensors")
    assert model.network.training
    model.eval()
    for path, told in (
        (tmp_path / "pets.h5", r"must end in \.onnx"),
        (tmp_path / "no" / "pets.onnx", "there is no folder"),
    ):
        with pytest.raises(nas.ConfigError, match=told):
            model.export(path)
    with pytest.raises(nas.ConfigError, match="format=keras: unknown"):
        model.export(tmp_path / "pets.h5", format="keras")


def test_a_training_that_has_not_ended_has_no_model(pets):
    data = nas.datasets.folder(pets, image_size=8)
    stopped = evaluate("DARTS_V2", data, epochs=2, time_limit=0.0001, more=SIZES)
    assert stopped.status == "stopped"
    with pytest.raises(nas.ConfigError, match="not finished"):
        _ = stopped.model
    done = nas.resume(stopped, overrides=["time_limit=null"], verbose=False)
    assert done.status == "finished" and done.model.classes == ("cat", "dog")


def test_a_width_is_chosen_for_a_budget(pets):
    found = evaluate(
        "DARTS_V2",
        nas.datasets.folder(pets, image_size=8),
        max_params=20_000,
        more=["recipe.num_cells=3", "size=null"],
    )
    assert found.summary["params"] <= 20_000
