"""What can be searched can be exported: images that are no squares, channels that no picture has, text."""

import pytest
import timm
import torch
from PIL import Image

from nas import genotype as genotypes
from nas.errors import ConfigError
from nas.formats import load_safetensors, read_description
from nas.formats.catalogue import FORMATS, Subject, chosen
from nas.formats.comparison import predict_text
from nas.formats.description import Description, Preprocessing
from nas.formats.families import build
from nas.formats.pictures import read_pictures
from nas.formats.untrained import settle
from nas.formats.writing import check_all, write_all
from tests.formats.networks import NB201, compared, step_of

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def rectangle(channels):
    """A network for images of 8 rows and 16 columns."""
    numbers = (0.5, 0.4, 0.3)[:channels], (0.25, 0.2, 0.1)[:channels]
    description = Description(
        genotypes.load(NB201),
        {"cells_per_stage": 1, "init_channels": 4},
        (channels, 8, 16),
        3,
        "stripes",
        Preprocessing((8, 16), (8, 16), *numbers),
    )
    network = build(description)
    settle(network, description.image_shape, 0)
    return Subject(network, description, 18)


@pytest.mark.parametrize("channels", [3, 2])
def test_a_rectangle_in_every_format(channels, tmp_path):
    for package in PACKAGES if channels == 2 else ():
        pytest.importorskip(package, reason="needs pip install -e '.[export]'")
    subject = rectangle(channels)
    formats = chosen("all" if channels == 2 else "timm")
    rows = write_all(subject, formats, tmp_path)
    images = torch.randn(9, channels, 8, 16)
    check_all(rows, subject, formats, tmp_path, *compared(subject.network, images))
    assert all(row["same_top1"] == 9 and row["difference"] < 1e-5 for row in rows)
    model = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert list(model.pretrained_cfg["input_size"]) == [channels, 8, 16]
    path = tmp_path / "picture.png"
    Image.new("RGB", (20, 9), (200, 100, 50)).save(path)
    prepared = read_description(tmp_path / "model.safetensors").preprocessing
    if channels == 2:
        with pytest.raises(ConfigError, match="reads 2 channels"):
            read_pictures([path], prepared)
        return
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    torch.testing.assert_close(transform(Image.open(path))[None], read_pictures([path], prepared))


@pytest.mark.parametrize(("name", "tied"), [("DARTS_V2", True), ("ENAS", False), ("LSTM", True)])
def test_a_step_is_the_language_model_word_by_word(name, tied, tmp_path):
    description, step, network = step_of(name, tied)
    tokens_TB = torch.randint(11, (7, 3), generator=torch.Generator().manual_seed(0))
    logits_TBV = network(tokens_TB)[0]
    found_NV = predict_text(step, tokens_TB, description.state_size)
    torch.testing.assert_close(found_NV, logits_TBV.flatten(0, 1))
    assert logits_TBV.std() > 0.02
    _, state_BS = step(tokens_TB[0], torch.zeros(3, description.state_size))
    torch.testing.assert_close(state_BS[None], network(tokens_TB[:1])[1])


def test_a_step_in_every_format_but_timm(tmp_path):
    for package in PACKAGES:
        pytest.importorskip(package, reason="needs pip install -e '.[export]'")
    description, step, network = step_of("DARTS_V2")
    formats = chosen("all", images=False)
    assert [one.name for one in formats] == ["safetensors", "torch_export", "onnx"]
    subject = Subject(step, description, 18)
    rows = write_all(subject, formats, tmp_path)
    tokens_TB = torch.randint(11, (7, 3))
    with torch.no_grad():
        expected_NV = network(tokens_TB)[0].flatten(0, 1)
    check_all(
        rows,
        subject,
        formats,
        tmp_path,
        expected_NV,
        lambda one: predict_text(one, tokens_TB, description.state_size),
    )
    assert all(row["same_top1"] == row["words"] == 21 and row["difference"] < 1e-5 for row in rows)
    assert read_description(tmp_path / "model.safetensors") == description
    loaded, state_BS = load_safetensors(tmp_path / "model.safetensors"), torch.zeros(3, 6)
    assert torch.equal(loaded(tokens_TB[0], state_BS)[0], step(tokens_TB[0], state_BS)[0])
    import onnx

    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [one.name for one in graph.input] == ["tokens", "state"]
    assert [one.name for one in graph.output] == ["logits", "next_state"]
    assert {one.type.tensor_type.shape.dim[0].dim_param for one in (*graph.input, *graph.output)} == {"batch"}


def test_formats_that_a_network_has_no_place_in_say_why():
    for name, given, words in (
        ("timm", {"images": False}, "its models read images.*choose safetensors, torch_export, onnx or all"),
        ("safetensors", {"known": False}, "from outside of this project; choose torch_export, onnx or all"),
    ):
        with pytest.raises(ConfigError, match=f"format={name}: .*{words}"):
            chosen(name, **given)
    assert [one.name for one in FORMATS.values() if not one.built] == ["torch_export", "onnx"]


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_a_network_of_other_numbers_than_files_hold_is_refused(kind):
    description, step, _ = step_of("DARTS_V2")
    with pytest.raises(ConfigError, match=rf"computes in {kind}, and files hold .* network\.float\(\)"):
        Subject(step.to(kind), description, 18)
