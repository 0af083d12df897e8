"""The table of what was found: the same look for pictures, tables, arrays, texts and a program's own."""

import numpy as np
import torch
from PIL import Image

from nas.data.arrays import Arrays
from nas.data.corpus import Corpus
from nas.data.folder import ImageFolder
from nas.data.found import Found, class_rows
from nas.data.given import Given, holding, pair_of
from nas.data.own_folder import OwnFolder
from nas.data.own_table import OwnTable


def rows(source):
    return dict(source.found().rows)


def pictures(root, classes=("cat", "dog"), count=5):
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(count):
            mode = "L" if (name, i) == ("cat", 0) else "RGB"
            Image.new(mode, (10 + i, 8)).save(root / name / f"{i}.png")
    return root


def test_a_folder_and_a_table_say_what_lies_there(tmp_path):
    root = pictures(tmp_path / "pets")
    found = rows(OwnFolder(root, image_size=8))
    assert found["training pictures"] == "8, what the test part leaves"
    assert found["test pictures"] == "2, drawn by test_share=0.2, test_seed=0"
    assert found["classes"] == "2, with 4 training items each" and found["  dog"] == "4 training, 1 test"
    assert found["stored sizes"] == "width 10 / 12 / 14, height 8 / 8 / 8 pixels (least, median, greatest)"
    assert found["stored as"] == "RGB 9, L 1" and found["left out"] == "none"
    assert found["read as"].startswith("colour [3, 8, 8]: ")
    assert found["mean"] == "0, 0, 0 (measured on 8 training pictures)"
    assert rows(OwnFolder(root, normalisation="imagenet"))["mean"] == "0.485, 0.456, 0.406 (ImageNet's)"
    assert rows(OwnFolder(root, mean=[0.5] * 3, std=[0.2] * 3))["mean"] == "0.5, 0.5, 0.5 (as configured)"
    (root / "t.csv").write_text("file,label,part\ncat/1.png,a,train\ndog/1.png,b,train\ncat/2.png,a,val\n")
    found = rows(OwnTable(root / "t.csv"))
    assert found["training pictures"] == "2, part train" and found["test pictures"] == "1, part val"
    assert found["  not in the test part"] == "b"


def test_imagenets_form_says_it_too(tmp_path):
    for part in ("train", "val"):
        pictures(tmp_path / part, count=2)
    found = rows(ImageFolder(tmp_path, 8, 2))
    assert found["val pictures"] == "4" and found["mean"] == "0.485, 0.456, 0.406 (ImageNet's)"


def test_arrays_texts_and_a_programs_own_have_the_same_look(tmp_path):
    images = np.zeros((10, 3, 5), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(10) % 2)
    found = rows(Arrays(tmp_path / "a.npz"))
    assert found["training images"] == "8" and found["test images"].startswith("2, drawn by")
    assert found["stored as"] == "uint8 [3, 5] each" and found["read as"] == "[1, 4, 8]: from [3, 5], padded"
    assert found["mean"] == "0 (measured on the 8 training images)" and found["  1"] == "4 training, 1 test"

    for part, text in (("train", "a b a"), ("valid", "a"), ("test", "b c")):
        (tmp_path / f"{part}.txt").write_text(text + "\n")
    found = rows(Corpus(tmp_path))
    assert (
        found["training text"] == "4 tokens, in train.txt" and found["test text"] == "3 tokens, in test.txt"
    )
    assert found["vocabulary"] == "4 words of all three files"
    assert rows(Corpus(tmp_path, tokenizer="characters"))["vocabulary"].startswith(
        "5 characters of the training text, and <unk>"
    )

    given = (torch.zeros(6, 3, 8, 8, dtype=torch.uint8), torch.arange(6) % 3)
    source = Given("own", (3, 8, 8), 3, [0.5] * 3, [0.2] * 3)
    assert source.found() is None
    with holding(pair_of(given, given)[0]):
        assert rows(source)["training pictures"] == "6, of a Python program" and rows(source)["  2"]


def test_long_lists_are_cut_and_columns_stand_below_one_another():
    labels_N = torch.arange(100).repeat(2)
    found = class_rows([f"class {i}" for i in range(100)], labels_N, labels_N[:50])
    assert len(found) == 13 and found[11] == ("  90 more", "180 training, 40 test")
    assert found[12] == ("  not in the test part", "class 50, class 51, class 52, class 53, class 54, ...")
    assert len(class_rows(None, torch.arange(11), torch.arange(11), 11)) == 12
    text = Found("title", (("a", "1"), ("longer", "2"))).with_rows(("b", "3")).text()
    assert text == "title\n  a       1\n  longer  2\n  b       3\n"
