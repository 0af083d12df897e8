"""Pictures of every kind as files: what pixels come out, today and in the way of earlier versions."""

import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from nas.errors import ConfigError
from nas.reading.pictures import PLAIN, Unreadable, as_color, decode, header

ORIENTATION = 0x0112
# Of a picture [H, W, 3], what each orientation of EXIF stands for (JEITA CP-3451, 4.6.4).
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def colours(height=6, width=9):
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def read(path, color="RGB", **options):
    image = decode(str(path), color, "dataset.root", **options)
    assert image.mode == color
    return np.asarray(image)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_a_picture_is_turned_as_its_exif_says(orientation, name, tmp_path):
    pixels, exif = colours(), Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(pixels).save(tmp_path / name, exif=exif, lossless=True)
    assert np.array_equal(read(tmp_path / name), TURNS[orientation](pixels))
    # Of a TIFF pillow itself sees to it.
    stored = TURNS[orientation](pixels) if name == "a.tif" else pixels
    assert np.array_equal(read(tmp_path / name, decoding=PLAIN), stored)
    again = as_color(decode(str(tmp_path / name), "RGB", "dataset.root"), "RGB")
    assert np.array_equal(np.asarray(again), TURNS[orientation](pixels))


def test_a_jpeg_of_a_telephone_and_damaged_exif(tmp_path):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    turned = read(tmp_path / "a.jpg")
    assert turned.shape == (32, 16, 3) and turned[:12].min() > 200 and turned[20:].max() < 50
    Image.fromarray(pixels).save(tmp_path / "b.jpg", exif=b"Exif\0\0MM\0*\0\0\xff\xff")
    assert read(tmp_path / "b.jpg").shape == (16, 32, 3)


@pytest.mark.parametrize(
    ("mode", "name"), [("L", "a.png"), ("P", "a.png"), ("1", "a.png"), ("CMYK", "a.tif"), ("RGB", "a.ppm")]
)
def test_pictures_without_transparency_become_rgb_or_grey(mode, name, tmp_path):
    image = Image.fromarray(colours()).convert(mode)
    image.save(tmp_path / name)
    for decoding in ("upright", PLAIN):
        assert np.array_equal(read(tmp_path / name, decoding=decoding), np.asarray(image.convert("RGB")))
    grey = read(tmp_path / name, "L")
    assert (
        grey.shape == (6, 9)
        and np.abs(grey - np.asarray(image.convert("RGB").convert("L")).astype(int)).max() <= 1
    )


def test_a_cmyk_jpeg_as_a_few_of_imagenets_are(tmp_path):
    Image.new("RGB", (16, 16), (200, 40, 40)).convert("CMYK").save(tmp_path / "a.jpg")
    assert header(str(tmp_path / "a.jpg"), "dataset.root").mode == "CMYK"
    red, green, blue = read(tmp_path / "a.jpg").reshape(-1, 3).mean(0)
    assert red > 150 and green < 90 and blue < 90


def test_what_is_transparent_lies_on_white(tmp_path):
    pixels = np.dstack([colours(), np.zeros((6, 9), np.uint8)])
    pixels[:, :3, 3], pixels[:, 3:6, 3] = 255, 51
    Image.fromarray(pixels).save(tmp_path / "colour.png")
    found = read(tmp_path / "colour.png")
    assert np.array_equal(found[:, :3], pixels[:, :3, :3]) and (found[:, 6:] == 255).all()
    expected = pixels[:, 3:6, :3] * 0.2 + 255 * 0.8
    assert np.abs(found[:, 3:6] - expected).max() <= 1
    assert np.array_equal(read(tmp_path / "colour.png", decoding=PLAIN), pixels[..., :3])

    grey = Image.fromarray(pixels).convert("LA")
    grey.save(tmp_path / "grey.png")
    found = read(tmp_path / "grey.png", "L")
    assert np.array_equal(found[:, :3], np.asarray(grey)[:, :3, 0]) and (found[:, 6:] == 255).all()

    # One colour of a palette, and one colour of all, that stand for nothing.
    palette = Image.fromarray(np.repeat(np.arange(3, dtype=np.uint8), 4).reshape(3, 4), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    palette.save(tmp_path / "palette.png", transparency=1)
    assert read(tmp_path / "palette.png")[:, 0].tolist() == [[10, 20, 30], [255, 255, 255], [70, 80, 90]]
    Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)).save(
        tmp_path / "key.png", transparency=(4, 5, 6)
    )
    assert read(tmp_path / "key.png").tolist() == [[[1, 2, 3], [255, 255, 255]]]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("decoding", ["upright", PLAIN])
def test_sixteen_bits_keep_their_high_byte(name, decoding, tmp_path):
    pixels = np.arange(0, 65536, 1111, dtype=np.uint16).reshape(1, -1)
    Image.fromarray(pixels).save(tmp_path / name)
    assert np.array_equal(read(tmp_path / name, "L", decoding=decoding), pixels // 256)
    rgb = read(tmp_path / name, decoding=decoding)
    assert np.array_equal(rgb, np.repeat((pixels // 256)[..., None], 3, axis=-1))
    assert header(str(tmp_path / name), "dataset.root").grey


def test_numbers_without_a_range_are_refused_and_were_cut_off(tmp_path):
    Image.fromarray(np.array([[0.5, 300.0]], np.float32)).save(tmp_path / "a.tif")
    Image.fromarray(np.array([[5, 70000]], np.int32)).save(tmp_path / "b.tif")
    for name, words in (("a.tif", "float pixels, whose range is not known"), ("b.tif", "from 5 to 70000")):
        with pytest.raises(Unreadable, match=f"{name} cannot be decoded: .*{words}.*8 or 16 bits"):
            read(tmp_path / name)
    assert read(tmp_path / "a.tif", "L", decoding=PLAIN).tolist() == [[0, 255]]


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.tif"])
def test_of_several_frames_the_first_counts(name, tmp_path):
    first, *others = (Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (250, 120, 10))
    first.save(tmp_path / name, save_all=True, append_images=others, lossless=True)
    assert (read(tmp_path / name)[..., 0] == 250).all()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.bmp", "a.webp", "a.ppm"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.97])
def test_what_is_cut_off_is_named(name, share, tmp_path):
    path = tmp_path / name
    Image.fromarray(colours(60, 60)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ConfigError, match=rf"input: {path} cannot be decoded: (no image|damaged).*delete"):
        decode(str(path), "RGB", "input")


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ConfigError, match=r"a\.png: a named pipe"):
        decode(str(tmp_path / "a.png"), "RGB", "input")


def test_pictures_of_pillow_are_read_as_their_files_are(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(colours()).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(as_color(image, "RGB")), read(tmp_path / "a.png"))
        assert image.size == (9, 6)


class Broken(Dataset):
    """One file that cannot be decoded."""

    def __init__(self, path):
        self.path = path

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return decode(self.path, "RGB", "dataset.root", hint="; or so")


def test_a_worker_process_says_it_in_one_line(tmp_path):
    (tmp_path / "Unreadable: a.png").touch()
    path = str(tmp_path / "Unreadable: a.png")
    with pytest.raises(Unreadable) as caught:
        next(iter(DataLoader(Broken(path), num_workers=1)))
    assert str(caught.value) == (
        f"dataset.root: {path} cannot be decoded: no image; replace or delete the file; or so"
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert torch.utils.data.get_worker_info() is None
