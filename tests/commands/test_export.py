"""`nas.export`: an evaluation's run folder is enough, and a checkpoint of another network is refused."""

import json

import numpy as np
import pytest
import torch

from nas.formats import load_safetensors, read_description

SIZES = ("recipe.num_cells=3", "recipe.init_channels=4")
S4 = (
    "Genotype(normal=[{edges}], normal_concat=[2, 3, 4, 5], reduce=[{edges}], reduce_concat=[2, 3, 4, 5])"
).format(
    edges=", ".join(f"('{name}', {source})" for name in ("noise", "skip_connect") * 2 for source in (0, 1))
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluated")


@pytest.fixture
def evaluated(run, place):
    """The run folder of an evaluation of two steps, the same for all tests."""
    folder = place / "run"
    if not folder.exists():
        done = run(
            "evaluate",
            "genotype=DARTS_V2",
            "dataset=digits",
            *SIZES,
            "trainer.max_epochs=1",
            "trainer.limit_train_batches=2",
            "checkpoint.keep=1",
            f"hydra.run.dir={folder}",
        )
        assert (done.status, done.err) == (0, "")
    return folder


@pytest.fixture
def export(run, tmp_path):
    """`export(...) -> (Done, folder)`, a new folder each time."""

    def call(*overrides):
        folder = tmp_path / f"export{len(list(tmp_path.glob('export*')))}"
        return run("export", *overrides, f"hydra.run.dir={folder}"), folder

    return call


def test_a_run_folder_is_enough(export, evaluated):
    done, folder = export(f"genotype={evaluated}", "format=timm")
    assert (done.status, done.err) == (0, "")
    assert "8 test images of digits" in done.out and "8/8" in done.out
    description = read_description(folder / "model.safetensors")
    assert description.sizes == {
        "num_cells": 3,
        "init_channels": 4,
        "stem": "cifar",
        "stem_multiplier": 3,
    }
    assert description.class_names == tuple("0123456789")
    assert description.preprocessing.to_dict() == {
        "color": "L",
        "exif": True,
        "background": "white",
        "resize": 8,
        "interpolation": "bilinear",
        "antialias": True,
        "crop": 8,
        "scale": 255,
        "mean": [0.2878],
        "std": [0.3544],
    }
    summary = json.loads((folder / "summary.json").read_text())
    before = json.loads((evaluated / "summary.json").read_text())
    assert summary["status"] == "finished" and summary["epochs"] == 1
    assert summary["params"] == before["params"]
    assert summary["test_accuracy"] == description.notes["test_accuracy"] == before["test_accuracy"]
    assert [(row["format"], row["difference"]) for row in summary["formats"]] == [("timm", 0.0)]
    assert (folder / "config.yaml").exists()
    # The weights are those of the newest checkpoint.
    stored = torch.load(next((evaluated / "checkpoints").glob("*.ckpt")), weights_only=True)["state_dict"]
    found = load_safetensors(folder / "model.safetensors").state_dict()
    assert {f"network.{name}" for name in found} == set(stored)
    assert all(torch.equal(stored[f"network.{name}"], tensor) for name, tensor in found.items())


def test_a_checkpoint_by_hand(export, evaluated):
    given = ("genotype=DARTS_V2", "dataset=digits", *SIZES, f"checkpoint={evaluated}", "format=safetensors")
    done, folder = export(*given, "check=false")
    assert (done.status, done.err) == (0, "")
    assert "not checked" in done.out
    assert load_safetensors(folder / "model.safetensors").num_classes == 10
    for wrong, said in (
        ("genotype=DARTS_V1", "the weights of another genotype"),
        ("recipe.init_channels=6", "its weights are those of another network"),
        ("dataset=cifar10", "its weights are those of another network"),
        ("checkpoint=nowhere.ckpt", "there is no such file"),
    ):
        done, folder = export(*given, wrong)
        assert done.status == 2 and said in done.err and done.err.count("\n") == 1, done.err


def test_an_auxiliary_head_and_another_precision_are_left_behind(export, evaluated, tmp_path):
    path = next((evaluated / "checkpoints").glob("*.ckpt"))
    checkpoint = torch.load(path, weights_only=True)
    state = {name: t.double() if t.is_floating_point() else t for name, t in checkpoint["state_dict"].items()}
    checkpoint["state_dict"] = state | {"network.auxiliary.classifier.weight": torch.zeros(10, 768)}
    torch.save(checkpoint, tmp_path / "double.ckpt")
    done, folder = export(
        f"genotype={evaluated}", f"checkpoint={tmp_path / 'double.ckpt'}", "format=safetensors"
    )
    assert (done.status, done.err) == (0, "")
    found = load_safetensors(folder / "model.safetensors").state_dict()
    assert {tensor.dtype for tensor in found.values()} == {torch.float32, torch.int64}
    assert not any("auxiliary" in name for name in found)


def test_an_unfinished_evaluation_needs_its_checkpoint_named(export, evaluated, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.yaml", "genotype.json"):
        (copy / name).write_bytes((evaluated / name).read_bytes())
    (copy / "summary.json").write_text('{"status": "stopped"}')
    done, _ = export(f"genotype={copy}")
    assert done.status == 2 and "not finished (status stopped)" in done.err and "resume=" in done.err
    done, _ = export(f"genotype={copy}", f"checkpoint={evaluated}", "format=safetensors", "check=false")
    assert (done.status, done.err) == (0, "")


def test_random_weights_only_on_request(export):
    given = ("genotype=DARTS_V2", "dataset=digits", *SIZES)
    done, _ = export(*given)
    assert done.status == 2 and "untrained=true" in done.err
    done, folder = export(*given, "untrained=true", "format=safetensors", "seed=3")
    assert (done.status, done.err) == (0, "")
    assert read_description(folder / "model.safetensors").notes == {"untrained": True, "seed": 3}


def test_noise_is_compared_where_it_can_be(export):
    done, folder = export(
        f'genotype="{S4}"', "space=s4", "dataset=digits", *SIZES, "untrained=true", "format=torch_export"
    )
    assert (done.status, done.err) == (0, "")
    (row,) = json.loads((folder / "summary.json").read_text())["formats"]
    assert (row["difference"], row["same_top1"]) == (0.0, 8)


def test_images_that_are_not_there_are_replaced_and_that_is_said(export, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = (
        'genotype="|skip_connect~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|none~2|"',
        "space=nasbench201",
        "dataset=cifar10",
        "recipe=nasbench201",
        "recipe.cells_per_stage=1",
        "untrained=true",
        "format=safetensors",
    )
    done, _ = export(*words)
    assert (done.status, done.err) == (0, "")
    assert "8 random images (those of cifar10 are not on this machine)" in " ".join(done.out.split())
    # A folder that was named is not.
    done, _ = export(*words, "dataset.root=nowhere")
    assert done.status == 2 and "nowhere" in done.err


def test_a_difference_fails_the_run(export, evaluated, monkeypatch):
    from nas.formats import writing
    from nas.formats.comparison import Comparison

    monkeypatch.setattr(writing, "compare", lambda expected, found: Comparison(8, 1e-3, 7))
    done, folder = export(f"genotype={evaluated}", "format=safetensors")
    assert done.status == 1 and "safetensors 1.0e-03" in done.err and "removed" in done.err
    assert json.loads((folder / "summary.json").read_text())["status"] == "failed"
    assert not (folder / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("format=tflite", "known are safetensors, timm, torch_export, onnx, all"),
        ("images=0", "images=0: must be"),
        ("tolerance=0.0", "tolerance=0.0"),
        ("hardware=gpu", "leave it out"),
        ("resume=.", "resume="),
        ("untrained=true", "is a training"),
        ("recipe.init_channels=8", "the evaluation's run folder decides"),
        ("space=s1", "the evaluation's run folder decides"),
        ("pictures=/nowhere", "there is no such folder"),
        ("onnx.opset=12", "must be from 18 to"),
    ],
)
def test_bad_input(override, said, export, evaluated):
    done, folder = export(f"genotype={evaluated}", "format=timm", override)
    assert done.status == 2 and said in done.err, done.err
    assert not (folder / "config.yaml").exists()


def test_what_is_compared_on_is_no_question_where_nothing_is_compared(export, evaluated):
    done, folder = export(f"genotype={evaluated}", "format=timm", "check=false", "images=3")
    assert done.status == 2 and "images=3: without effect where check=false" in done.err
    assert not folder.exists()


def test_images_that_are_no_squares(export):
    own = ("dataset.source._target_=tests.commands.own_source.OwnImages", "~dataset.source.test_seed")
    given = ("genotype=DARTS_V2", "dataset=digits", *SIZES, *own, "+dataset.source.shape=[1,8,16]")
    done, folder = export(*given, "untrained=true", "format=timm")
    assert (done.status, done.err) == (0, "")
    description = read_description(folder / "model.safetensors")
    assert description.image_shape == (1, 8, 16) and description.preprocessing.resize == (8, 16)


def test_a_network_of_text_is_exported_as_it_was_tested(export, run, tmp_path):
    text = ("space=darts_rnn", "dataset=wikitext_mini", "dataset.fraction=0.1", "recipe.hidden_size=8")
    short = (
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "trainer.limit_val_batches=2",
        "test=false",
    )
    folder = tmp_path / "trained"
    done = run("evaluate", "genotype=DARTS_V2", *text, *short, f"hydra.run.dir={folder}")
    assert (done.status, done.err) == (0, "")
    done, out = export(f"genotype={folder}", "format=safetensors", "words=30")
    assert (done.status, done.err) == (0, "")
    assert "30 words of the test text of wikitext_mini" in " ".join(done.out.split()) and "30/30" in done.out
    description = read_description(out / "model.safetensors")
    assert (description.state_size, len(description.words)) == (8, 3867) and "<eos>" in description.words
    best = torch.load(folder / "checkpoints/best.pt", weights_only=True)["weights"]
    found = load_safetensors(out / "model.safetensors").state_dict()
    assert found.keys() == best.keys() and all(torch.equal(found[name], best[name]) for name in best)
    done, _ = export(f"genotype={folder}", "format=timm")
    assert done.status == 2 and "format=timm: its models read images" in done.err


def test_arrays_that_were_moved_after_the_training(export, run, tmp_path):
    file, moved, folder = (tmp_path / one for one in ("odd.npz", "gone.npz", "run"))
    random = np.random.default_rng(0)
    np.savez(file, images=random.integers(0, 255, (20, 5, 9), dtype=np.uint8), labels=[0, 1] * 10)
    sizes = ("recipe.num_cells=3", "recipe.init_channels=2", "trainer.max_epochs=1")
    given = ("genotype=DARTS_V2", "dataset=arrays", f"dataset.file={file}", *sizes)
    assert run("evaluate", *given, "dataset.batch_size=8", f"hydra.run.dir={folder}").status == 0
    file.rename(moved)
    done, _ = export(f"genotype={folder}", "format=safetensors")
    assert done.status == 2 and str(file) in done.err
    done, written = export(f"genotype={folder}", "format=safetensors", f"dataset.file={moved}")
    assert done.status == 0, done.err
    assert "test images of arrays" in done.out
    words = "images of 5 x 9 with black around them, 8 x 12 together"
    assert words in done.out + done.err
    assert words in read_description(written / "model.safetensors").notes["padding"]
