"""Signals and float images of one's own: what is read from which file, normalised, refused."""

import io
import pickle
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from nas.data.arrays import Arrays
from nas.data.augment import BatchAugment, of_batches
from nas.data.checks import check_images
from nas.data.declared import check_source
from nas.data.sources import TensorImages
from nas.errors import ConfigError

RNG = np.random.default_rng(1)
LABELS = np.arange(20) % 2


def signals(count=20, channels=3, length=30, kind=np.float32):
    scale = np.array([2.0, 40.0, 900.0] if kind == np.int16 else [1e-6, 1.0, 300.0])[:channels, None]
    return ((RNG.standard_normal((count, channels, length)) + 5) * scale).astype(kind)


def written(folder, images, form="npz", labels=LABELS, **more):
    folder.mkdir(exist_ok=True)
    if form == "npy":
        np.save(folder / "own images.npy", images)
        np.save(folder / "own labels.npy", labels)
        return {"file": folder / "own images.npy", "labels": folder / "own labels.npy"}
    file = folder / f"own.{form}"
    arrays = {"images": np.ascontiguousarray(images), "labels": labels, **more}
    save_file(arrays, file) if form == "safetensors" else np.savez(file, **arrays)
    return {"file": file}


def refused(words, **arguments):
    with pytest.raises(ConfigError, match=words) as caught:
        Arrays(**arguments).train()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["npz", "npy", "safetensors"])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
def test_signals_become_rows_with_their_mean_around_them(form, kind, tmp_path):
    given = signals(kind=kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = Arrays(**written(tmp_path, given, form))
        train, test = source.train(), source.test()
    check_source(source)
    check_images(source, train, "train")
    check_images(source, test, "test")
    assert source.image_shape == (3, 1, 32) and source.padded_from == (1, 30) and source.floats
    assert (len(train), len(test)) == (16, 4) and isinstance(train, TensorImages) == (form != "npy")
    images, labels = train.__getitems__([3, 0])
    assert images.dtype == torch.float32 and images.shape == (2, 3, 1, 32) and labels.dtype == torch.int64
    everything = torch.stack([part[i][0] for part in (train, test) for i in range(len(part))])
    rows = {one.numpy().tobytes() for one in everything[:, :, 0, 1:31]}
    assert rows == {one.tobytes() for one in given.astype(np.float32)}
    kept = np.stack([train[i][0][:, 0, 1:31].numpy() for i in range(16)]).astype(np.float64)
    assert source.mean == pytest.approx(kept.mean((0, 2)), rel=1e-5)
    assert source.std == pytest.approx(kept.std((0, 2)), rel=1e-5)
    x = BatchAugment(source.mean, source.std)(images, train=True)
    assert float(x[..., 0].abs().max()) == 0 == float(x[..., 31].abs().max())
    assert 0.8 < float(x[..., 1:31].std()) < 1.2


def test_moments_are_those_of_the_training_part_alone(tmp_path):
    test = signals(4) + 1e3
    source = Arrays(**written(tmp_path, signals(), test_images=test, test_labels=LABELS[:4]))
    assert max(source.mean) < 2000 and source.mean[0] < 1e-5 and len(source.test()) == 4
    given = Arrays(**written(tmp_path, signals()), mean=[0, 1, 2], std=[1, 1, 1])
    assert given.mean == (0, 1, 2) and torch.equal(
        given.train()[0][0][:, 0, 0], torch.tensor([0.0, 1.0, 2.0])
    )


def test_what_is_a_picture_and_what_is_not(tmp_path, caplog):
    def kind(images, **options):
        source = Arrays(**written(tmp_path, images), **options)
        return source.image_shape, source.floats

    floats = RNG.standard_normal((20, 2, 6, 8)).astype(np.float32)
    assert kind(floats) == ((2, 8, 8), True)
    assert kind(floats, fit="resize") == ((2, 8, 8), True)
    assert kind(np.abs(floats[:, :, :1])) == ((2, 1, 8), True)  # a single row
    assert kind(floats[:, 0]) == ((6, 1, 8), True) and kind(floats[:, 0], kind="floats") == ((1, 8, 8), True)
    small = RNG.random((20, 3, 40)).astype(np.float32)
    assert not [one for one in caplog.records if one.levelname == "WARNING"] and kind(small) == (
        (1, 4, 40),
        False,
    )
    assert "if they are signals [N, C, L], say dataset.source.kind=signals" in caplog.text
    assert kind(small, kind="signals") == ((3, 1, 40), True)
    assert kind((small * 255).astype(np.uint8)) == ((1, 4, 40), False)


def test_float_images_are_padded_with_their_mean(tmp_path):
    images = RNG.standard_normal((20, 2, 6, 8)).astype(np.float32) * 50 + 1000
    source = Arrays(**written(tmp_path, images))
    batch = source.train().__getitems__([0, 1])[0]
    x = BatchAugment(source.mean, source.std, pad=2, flip=True, cutout=2)(batch.clone(), train=True)
    assert x.shape == (2, 2, 8, 8) and float(x.abs().max()) < 6
    plain = BatchAugment(source.mean, source.std)(batch, train=False)
    assert float(plain[:, :, 0].abs().max()) == 0 and float(plain[:, :, 1:7].abs().min()) > 0


@pytest.mark.parametrize("form", ["npz", "npy"])
def test_numbers_that_are_none_are_counted_and_the_first_is_named(form, tmp_path):
    given = signals()
    given[5, 1, 17] = given[9, 0, 0] = np.nan
    given[7, 2, 3] = -np.inf
    refused(r"images holds .*: 2 NaN, 1 infinite, the first at \[5, 1, 17\] \(signal, channel, time step\)",
            **written(tmp_path, given, form))  # fmt: skip
    refused(
        "1 beyond float32, the first at",
        **written(
            tmp_path,
            np.full((20, 1, 8), [1.0] * 7 + [1e300])[:, :, :] * (np.arange(20) == 3)[:, None, None] - 1,
            form,
        ),
    )
    refused(
        "images run from -3 to -3; bring all images",
        kind="pictures",
        **written(tmp_path, np.full((20, 4, 4), -3.0), form),
    )


def test_what_only_pictures_bear_is_refused_for_signals(tmp_path):
    source = Arrays(**written(tmp_path, signals()))
    for key, value in (("flip", True), ("crop", [0.3, 1]), ("jitter", [0.1] * 4)):
        with pytest.raises(ConfigError, match=rf"dataset\.augment\.{key}=.*pad=<steps> shifts a signal"):
            of_batches(source, {"pad": 2, "flip": False, "crop": None, "jitter": None} | {key: value})
    refused(
        "signals are padded, since another number of time steps", fit="resize", **written(tmp_path, signals())
    )
    refused(
        r"kind=signals are \[N, C, L\]",
        kind="signals",
        **written(tmp_path, signals()[:, :, None].repeat(2, 2)),
    )


def test_a_signal_is_shifted_and_cut_out_along_time(tmp_path):
    source = Arrays(**written(tmp_path, signals(length=32)))
    batch = source.train().__getitems__(range(16))[0]
    kept = batch.clone()
    plain = BatchAugment(source.mean, source.std)(batch, train=True)
    shifted = BatchAugment(source.mean, source.std, pad=3)(batch, True, torch.Generator().manual_seed(0))
    around = torch.nn.functional.pad(plain, (3, 3))
    places = [
        [left for left in range(7) if torch.equal(one, whole[..., left : left + 32])]
        for one, whole in zip(shifted, around, strict=True)
    ]
    assert all(len(one) == 1 for one in places) and len({one[0] for one in places}) > 3
    cut = BatchAugment(source.mean, source.std, cutout=8)(batch, True)
    holes = (cut == 0).all(1)[:, 0].sum(1)
    assert holes.max() == 8 and holes.min() >= 4
    assert torch.equal(batch, kept)


def header(shape, descr="<f4", fortran=False, numbers=b"", version=(1, 0)):
    out = io.BytesIO()
    text = repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode()
    out.write(b"\x93NUMPY" + bytes(version) + (len(text) + 1).to_bytes(2, "little") + text + b"\n" + numbers)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header((1 << 40, 3, 64)), r"which is .* bytes, but 0 follow; the file is cut off or damaged"),
        (header((20, 3, 30), numbers=bytes(7199)), "7,200 bytes, but 7,199 follow"),
        (header((20, 3, 30), numbers=bytes(7204)), "but 7,204 follow"),
        (header((-20, 3, -30), numbers=bytes(7200)), r"shape \(-20, 3, -30\) cannot be"),
        (header((20, 3, 30), "|O", numbers=pickle.dumps([1])), "holds pickled objects, which are never read"),
        (header((30, 3, 20), fortran=True, numbers=bytes(7200)), "order of Fortran.*ascontiguousarray"),
        (header("x"), "its header is damaged"),
        (header((20, 3, 30), version=(9, 9)), "format .9, 9. of NumPy's arrays is not known"),
        (b"\x93NUMPY\x01\x00\xff\xff(((((", "its header is damaged"),
        (b"GIF89a", "is no array of NumPy's"),
        (b"", "is no array of NumPy's"),
    ],
)  # fmt: skip
def test_hostile_headers_are_refused_before_anything_is_read(content, words, tmp_path, monkeypatch):
    files = written(tmp_path, signals(), "npy")
    files["file"].write_bytes(content)
    monkeypatch.setattr(np, "memmap", lambda *_, **__: pytest.fail("it was mapped"))
    refused(rf"dataset\.file=.*{words}", **files)


def test_a_hostile_archive_asks_for_no_memory(tmp_path):
    file = tmp_path / "own.npz"
    np.savez(file, labels=LABELS)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("images.npy", header((1 << 40, 3, 64)))
    refused(r"images: its header says float32 \[1099511627776, 3, 64\]", file=file)
    damaged = tmp_path / "own.safetensors"
    damaged.write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    refused("no safetensors file, or damaged", file=damaged)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    files = written(tmp_path, signals(), "npy")
    refused(r"name the file of its labels, dataset\.labels=<labels\.npy>", file=files["file"])
    refused(r"dataset\.test_file, dataset\.test_labels: name both", **files, test_file=files["file"])
    np.save(tmp_path / "short.npy", LABELS[:5])
    refused("20 images, but labels 5 labels", **files | {"labels": tmp_path / "short.npy"})
    refused(
        r"dataset\.labels: only beside", file=written(tmp_path, signals())["file"], labels=files["labels"]
    )
    refused(r"images are \[3, 30\], but test_images \[3, 31\]", **written(
        tmp_path, signals(), test_images=signals(length=31), test_labels=LABELS))  # fmt: skip
    np.save(tmp_path / "other.npy", signals(4))
    np.save(tmp_path / "test labels.npy", LABELS[:4])
    both = Arrays(**files, test_file=tmp_path / "other.npy", test_labels=tmp_path / "test labels.npy")
    assert (len(both.train()), len(both.test())) == (20, 4)
