"""Pictures that a CSV file lists: what is found in it, what comes out, and what is refused."""

import re

import pytest
import torch
from PIL import Image

from nas.data.checks import check_images
from nas.data.declared import check_source
from nas.data.own_folder import OwnFolder
from nas.data.own_table import OwnTable
from nas.data.table import read_table
from nas.errors import ConfigError


@pytest.fixture
def pictures(tmp_path):
    """Five pictures of each of two classes, `cat/0.png` to `dog/4.png`."""
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new("RGB", (9, 8 + i), (40 * i, 100 * number, 7)).save(tmp_path / name / f"{i}.png")
    return tmp_path


def table(folder, header="file,label", rows=None, name="t.csv", encoding="utf-8"):
    rows = [f"{c}/{i}.png,{c}" for i in range(5) for c in ("dog", "cat")] if rows is None else rows
    (folder / name).write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
    return folder / name


def test_a_table_gives_what_the_folder_gives(pictures):
    file = table(pictures)
    source, folder = OwnTable(file, image_size=8), OwnFolder(pictures, image_size=8)
    check_source(source)
    assert source.classes == folder.classes == ("cat", "dog") and source.num_classes == 2
    for part in ("train", "test"):
        images, other = getattr(source, part)(), getattr(folder, part)()
        check_images(source, images, part)
        assert images.names == other.names and torch.equal(images.labels, other.labels)
        assert all(torch.equal(images[i][0], other[i][0]) for i in range(len(images)))


def test_labels_that_are_numbers_are_in_their_order_however_long(pictures):
    labels = ["10", "9", "007", "9" * 5000, "8" * 5000]
    file = table(pictures, rows=[f"cat/{i}.png,{label}" for i, label in enumerate(labels)])
    assert read_table(file, pictures, {})[None].classes == ("007", "9", "10", "8" * 5000, "9" * 5000)


def test_paths_may_start_elsewhere_and_be_absolute(pictures, tmp_path_factory):
    other = tmp_path_factory.mktemp("other place")
    assert len(OwnTable(table(other), root=pictures).train()) == 8
    rows = [f"{pictures}/{name}/{i}.png,{name}" for name in ("cat", "dog") for i in range(5)]
    names = OwnTable(table(other, rows=rows)).train().names
    assert all(name.startswith(str(pictures)) for name in names)


@pytest.mark.parametrize(
    ("header", "more"),
    [
        ("Image;CLASS;Split", {}),
        ("path\tcategory\tset", {}),
        ("where,what,when", {"file_column": "where", "label_column": "what", "part_column": "when"}),
    ],
)
def test_columns_and_delimiters_are_found_or_named(header, more, pictures):
    cut = next(one for one in ",;\t" if one in header)
    rows = [
        cut.join((f"{c}/{i}.png", c, "TEST" if i == 4 else "valid" if i == 3 else "Train"))
        for c in ("cat", "dog")
        for i in range(5)
    ]
    source = OwnTable(table(pictures, header, rows, encoding="utf-8-sig"), **more)
    assert (len(source.train()), len(source.test())) == (6, 2)
    assert source.test().names == ["cat/4.png", "dog/4.png"]


def test_empty_lines_before_the_header_say_nothing_of_the_delimiter(pictures):
    rows = [f"{c}/{i}.png;{c}" for c in ("cat", "dog") for i in range(5)]
    assert len(OwnTable(table(pictures, "\n  \nfile;label", rows)).train()) == 8


def test_a_valid_part_alone_is_the_test_and_quoted_names_are_read(pictures):
    Image.new("L", (9, 9)).save(pictures / "a, b.png")
    rows = ['"a, b.png",10,train', "cat/0.png,9,train", "", "cat/1.png,10,valid", "cat/2.png,9,val"]
    source = OwnTable(table(pictures, "file,label,part", rows))
    assert source.classes == ("9", "10") and source.test().names == ["cat/2.png"]
    assert source.train().names == ["cat/0.png", "a, b.png"]


@pytest.mark.parametrize(
    ("header", "rows", "words"),
    [
        ("file,label", [], "holds no row below a header"),
        (
            "thing,label",
            ["a,b"],
            "header (thing, label) is called file or path or filename or file_name; ",
        ),
        ("file,label", ["cat/0.png,cat", "cat/9.png,cat", "x.png,cat"], "2 of 3 files are missing (line 3: "),
        ("file,label", ["cat/0.png,cat", "./cat/0.png,dog"], "1 file named more than once"),
        ("file,label,part", ["cat/0.png,cat,train", "dog/0.png,dog,dev"], "1 row of unknown parts (dev)"),
        ("file,label,part", ["cat/0.png,cat,test"], "no row is of the part train"),
        ("file,label,part", ["cat/0.png,cat,train", "dog/0.png,dog,test"], "has the label dog"),
        ("file,label", ["cat/0.png,cat", "cat/1.png,", "cat/2.png"], "2 rows without a file, label or part"),
    ],
)
def test_what_a_table_cannot_mean_is_refused_in_words(header, rows, words, pictures):
    with pytest.raises(ConfigError, match=re.escape(words)):
        OwnTable(table(pictures, header, rows)).train()


def test_a_table_or_column_that_is_not_there_is_refused(pictures):
    with pytest.raises(ConfigError, match="there is no such file"):
        OwnTable(pictures / "no.csv").train()
    with pytest.raises(ConfigError, match=r"dataset.source.part_column=kind: .* it has file, label"):
        OwnTable(table(pictures), part_column="kind").train()


def test_the_command_refuses_missing_files_in_one_line(pictures, run, tmp_path):
    file, out = table(pictures, rows=["cat/0.png,cat", "no.png,dog"]), tmp_path / "out"
    words = ("dataset=csv", f"dataset.file={file}", "method=random", "size=null")
    done = run("search", *words, f"hydra.run.dir={out}")
    assert done.status == 2 and "1 of 2 files are missing (line 3: " in done.err
    assert done.err.count("\n") == 1 and not out.exists()
