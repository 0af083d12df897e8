"""Each format's file alone gives the network back, on real pictures, and damaged ones are named."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from experiments.export import record
from nas.data.folder import ImageFolder
from nas.errors import ConfigError
from nas.formats import load_safetensors, read_description
from nas.formats.catalogue import FORMATS, Subject, chosen
from nas.formats.pictures import list_pictures, read_pictures
from nas.formats.writing import check_all, remove_different, write_all
from tests.formats.networks import built, compared
from tests.shared import shared

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SIDE = 64


@pytest.fixture(scope="module")
def sample_pictures(tmp_path_factory):
    """The two JPEGs of scikit-learn (640x427), one of them also grey and upright."""
    from sklearn.datasets import load_sample_image

    folder = tmp_path_factory.mktemp("pictures")
    for name in ("china", "flower"):
        Image.fromarray(load_sample_image(f"{name}.jpg")).save(folder / f"{name}.png")
    grey = Image.fromarray(load_sample_image("china.jpg")).convert("L").rotate(90, expand=True)
    grey.save(folder / "grey.png")
    return folder


@pytest.fixture(scope="module")
def subject():
    """A network for 64 px, with pictures resized to 73."""
    description, network = built("darts_imagenet")
    prepared = type(description.preprocessing)(73, SIDE, *_imagenet())
    return Subject(network, type(description)(**{**vars(description), "preprocessing": prepared}), 18)


def _imagenet():
    return ImageFolder.mean, ImageFolder.std


@pytest.fixture(scope="module")
def exported(subject, sample_pictures, tmp_path_factory):
    """(folder with every format, rows of the table)."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs pip install -e '.[export]'")
    folder = tmp_path_factory.mktemp("exported")
    formats = chosen("all")
    rows = write_all(subject, formats, folder)
    images = read_pictures(list_pictures(sample_pictures), subject.description.preprocessing)
    # Nine: a batch of eight, and one of a single image.
    check_all(rows, subject, formats, folder, *compared(subject.network, images.repeat(3, 1, 1, 1)))
    return folder, rows


def test_every_format_computes_the_same_logits_on_real_pictures(exported):
    _, rows = exported
    assert [row["format"] for row in rows] == list(FORMATS)
    assert all(row["images"] == row["same_top1"] == 9 for row in rows)
    assert max(row["difference"] for row in rows) < 1e-5
    assert [row["difference"] for row in rows if row["format"] != "onnx"] == [0, 0, 0]


def test_the_weights_file_alone_builds_the_network(exported, subject):
    folder, _ = exported
    network = load_safetensors(folder / "model.safetensors")
    images_BCHW = torch.randn(2, 3, SIDE, SIDE)
    assert not network.training
    assert torch.equal(network(images_BCHW), subject.network(images_BCHW))
    assert read_description(folder / "model.safetensors") == subject.description


def test_the_same_network_is_the_same_bytes(exported, subject, tmp_path):
    folder, _ = exported
    for format in (*["safetensors"] * 6, *FORMATS):
        again = tmp_path / f"again{len(list(tmp_path.iterdir()))}"
        again.mkdir()
        write_all(subject, chosen(format), again)
        for file in again.iterdir():
            assert file.read_bytes() == (folder / file.name).read_bytes(), file.name


def test_no_half_written_file_is_left(exported):
    folder, _ = exported
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors",
        "config.json",
        "model.pt2",
        "model.onnx",
    }


def test_the_timm_folder(exported, subject, tmp_path):
    folder, _ = exported
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert model.default_cfg is model.pretrained_cfg
    wanted = {
        "input_size": (3, SIDE, SIDE),
        "interpolation": "bilinear",
        "crop_pct": 0.875,
        "mean": ImageFolder.mean,
        "std": ImageFolder.std,
        "num_classes": 3,
        "pool_size": (2, 2),
        "first_conv": "stem.stem0.0",
        "classifier": "classifier",
        "label_names": ["class 0", "class 1", "class 2"],
    }
    found = {key: model.pretrained_cfg[key] for key in wanted}
    assert {k: tuple(v) if isinstance(wanted[k], tuple) else v for k, v in found.items()} == wanted
    # Another head keeps the body; another number of channels is adapted by timm.
    other = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=5)
    assert other.get_classifier().out_features == 5
    assert torch.equal(other.cells[0].preprocess0.conv_1.weight, model.cells[0].preprocess0.conv_1.weight)
    grey = timm.create_model(f"local-dir:{folder}", pretrained=True, in_chans=1)
    expected = model.stem.stem0[0].weight.sum(dim=1, keepdim=True)
    assert torch.allclose(grey.stem.stem0[0].weight, expected, atol=1e-6)
    backbone = timm.create_model(f"local-dir:{folder}", pretrained=True, features_only=True).eval()
    images_BCHW = torch.randn(1, 3, SIDE, SIDE)
    assert torch.equal(backbone(images_BCHW)[-1], model.forward_features(images_BCHW))
    # And timm's own way of saving takes the model on.
    timm.models.save_for_hf(model, tmp_path / "again")
    again = timm.create_model(f"local-dir:{tmp_path / 'again'}", pretrained=True).eval()
    assert torch.equal(again(images_BCHW), model(images_BCHW))


def test_the_onnx_model_says_what_it_takes(exported):
    import onnx

    model = onnx.load(exported[0] / "model.onnx")
    shapes = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (model.graph.input[0], model.graph.output[0])
    ]
    assert shapes == [["batch", 3, SIDE, SIDE], ["batch", 3]]
    assert (model.graph.input[0].name, model.graph.output[0].name) == ("images", "logits")
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 18)]
    assert not any(tensor.external_data for tensor in model.graph.initializer), "one file"


def check_pictures(folder, pictures):
    """Every format's own code, from the picture's file to its class, beside an evaluation's test images."""
    rows = record.compare(folder, pictures)
    assert {row["format"] for row in rows} == {"timm", "torch_export", "onnx"}
    assert len(rows) == 3 * len(pictures)
    for row in rows:
        # Divisions in another order round differently; a pixel of 255 off by one would be 0.017.
        assert row["input_difference"] <= 1e-6 and row["same_top1"], row
    assert max(row["relative_difference"] for row in record.summed_up(rows)) <= 1e-5
    prepared = read_pictures(pictures, read_description(folder / "model.safetensors").preprocessing)
    assert torch.equal(prepared, torch.cat(list(record.test_images(pictures, SIDE))))


@torch.no_grad()
def test_every_format_prepares_pictures_as_the_test_images_are(exported, sample_pictures):
    check_pictures(exported[0], list_pictures(sample_pictures))


@torch.no_grad()
def test_also_full_size_pictures_of_odd_shapes(exported, tmp_path):
    unpack = shared("data/unpack")
    subprocess.run([unpack, tmp_path, "imagenet-originals"], check=True, capture_output=True)
    pictures = list_pictures(tmp_path)
    modes = {Image.open(path).mode for path in pictures}
    assert len(pictures) == 33 and modes == {"RGB", "L"}
    check_pictures(exported[0], pictures)


@pytest.mark.parametrize(
    ("script", "file"), [("classify_onnx.py", "model.onnx"), ("classify_exported.py", "model.pt2")]
)
def test_the_examples_classify_pictures_without_this_project(
    script, file, exported, sample_pictures, subject
):
    pictures = list_pictures(sample_pictures)
    # The project may be installed, so that any import of it is made to fail.
    code = (
        "import runpy, sys; sys.modules['nas'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__'); "
        "assert not [name for name in sys.modules if name.startswith('nas.')]"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, EXAMPLES / script, exported[0] / file, *pictures],
        cwd=exported[0].parent,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.strip().splitlines()]
    shares_NK = subject.network(read_pictures(pictures, subject.description.preprocessing)).softmax(dim=1)
    for path, shares_K, line in zip(pictures, shares_NK, lines, strict=True):
        best = shares_K.argsort(descending=True).tolist()
        assert line[0] == str(path)
        assert line[1:] == [f"class {index} {shares_K[index]:.1%}" for index in best]
    assert len((EXAMPLES / script).read_text().split('"""')[2].splitlines()) <= 36


def test_damaged_and_foreign_files_are_named(exported, tmp_path):
    from safetensors.torch import save_file

    whole = exported[0] / "model.safetensors"
    (cut := tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-100])
    save_file({"a": torch.zeros(2)}, foreign := tmp_path / "foreign.safetensors")
    save_file(
        {"a": torch.zeros(2)},
        swapped := tmp_path / "swapped.safetensors",
        {"network": read_description(whole).to_json()},
    )
    for path, said in (
        (tmp_path / "none.safetensors", "there is no such file"),
        (cut, "damaged"),
        (foreign, "describe no network"),
        (swapped, "weights are not those"),
    ):
        with pytest.raises(ConfigError, match=f"{path.name}: .*{said}"):
            load_safetensors(path)
    (tmp_path / "model.pt2").write_bytes((exported[0] / "model.pt2").read_bytes()[:-1000])
    with pytest.raises(ConfigError, match=r"model\.pt2"):
        FORMATS["torch_export"].read(tmp_path)


def test_what_computes_something_else_is_removed(subject, tmp_path):
    formats = chosen("timm")
    rows = write_all(subject, formats, tmp_path)
    images = torch.randn(2, 3, SIDE, SIDE)
    for wrong in (lambda x: subject.network(x) + 1e-2, lambda x: subject.network(x) * np.nan):
        write_all(subject, formats, tmp_path)
        check_all(rows, subject, formats, tmp_path, *compared(wrong, images))
        assert len(remove_different(rows, formats, tmp_path, 1e-5)) == 1
        assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "onnx" in name else find(name))
    assert [one.name for one in chosen("timm")] == ["timm"]
    for name in ("onnx", "all"):
        with pytest.raises(ConfigError, match=rf"format={name}: onnx needs .*onnxscript.*\[export\]"):
            chosen(name)


@pytest.mark.parametrize("opset", [9, 17, 99])
def test_an_opset_that_torch_does_not_write_is_refused(subject, opset):
    with pytest.raises(ConfigError, match=f"onnx.opset={opset}"):
        Subject(subject.network, subject.description, opset)
