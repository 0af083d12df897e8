"""Which classes are taken for which: a table and a picture of any names, and the table read back."""

import csv
import warnings

import numpy as np
import pytest
from matplotlib.image import imread

from nas.analysis import plots
from nas.analysis.confusion import Pair, confusion, read_confusion, safe_names
from nas.analysis.plots.confusion import label_of
from nas.errors import ConfigError

HOSTILE = (
    "two\nlines", "a,b", '=cmd|"/c calc"!A0', "$x_y$", "snow ☃ and 🦖", "+1", "-2+3", "@x", "", "cat", "cat",
    "\x1b[2Jgone", "x" * 300, "\u202eright to left", "猫", "' apostrophe",
    "test: true in rows, predicted in columns",
)  # fmt: skip


def random_counts(classes, seed=0):
    numbers = np.random.default_rng(seed).integers(0, 9, (classes, classes))
    numbers[np.arange(classes), np.arange(classes)] += 40
    return numbers.tolist()


def test_names_are_lines_of_their_own_and_no_formulas():
    found = safe_names(HOSTILE)
    assert found[:8] == (
        r"two\nlines", "a,b", "'=cmd|\"/c calc\"!A0", "$x_y$", "snow ☃ and 🦖", "+1", "'-2+3", "'@x"
    )  # fmt: skip
    assert found[8:12] == ("8: ", "9: cat", "10: cat", r"\x1b[2Jgone")
    assert len(found[12]) == 200 and found[13] == r"\u202eright to left" and found[16].startswith("16: test")
    assert len(set(found)) == len(found)
    # One is called what its like become.
    assert safe_names(["a", "a", "0: a"]) == ("0: a", "1: a", "2: 0: a")
    assert confusion("test", None, [[1, 0], [0, 1]]).names == ("0", "1")


def test_a_table_of_any_names_is_read_back(tmp_path):
    whole = confusion("valid", HOSTILE, random_counts(len(HOSTILE)))
    path = tmp_path / "confusion.csv"
    path.write_text(whole.text())
    assert read_confusion(path) == whole
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[0] == "valid: true in rows, predicted in columns" and header[1:] == list(whole.names)
    assert [row[0] for row in rows] == list(whole.names) and int(rows[2][4]) == whole.counts[2][3]
    many = confusion("test", None, np.eye(1000, dtype=int))
    path.write_text(many.text())
    assert read_confusion(path) == many


@pytest.mark.parametrize(
    "text",
    [
        "", "a,b\n", "test: true in rows, predicted in columns,a,b\na,1,2\n",
        "test: true in rows, predicted in columns,a\nb,1\n",
    ],
)  # fmt: skip
def test_what_is_no_such_table_is_refused(tmp_path, text):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"c\.csv: damaged"):
        read_confusion(tmp_path / "c.csv")


@pytest.mark.parametrize("number", ["-1", "1.5", "9" * 40, "", "٣", "=1"])
def test_what_is_no_count_is_refused(tmp_path, number):
    text = confusion("test", None, [[1, 0], [0, 12345]]).text().replace("12345", number)
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(ConfigError, match="line 3: must have 2 whole numbers"):
        read_confusion(tmp_path / "c.csv")


def test_the_most_frequent_mistakes_come_first():
    found = confusion("test", None, [[5, 2, 0], [2, 0, 0], [0, 3, 7]])
    assert found.mistakes(2) == [Pair(2, 1, 3, 0.3), Pair(1, 0, 2, 1.0)]
    assert found.shares()[1] == [1.0, 0.0, 0.0]
    assert confusion("test", None, [[0, 0], [1, 1]]).shares()[0] == [None, None]


def drawn(path, names, counts):
    """The pixels of a picture, in which nothing warned of a sign that is not there or a formula."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.draw_confusion(confusion("test", names, counts), path, caption="a run, digits, seed 0")
    pixels = imread(path)[..., :3]
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edge > 0.99).all(), "something touches the border and may be cut off"
    return pixels


def test_any_names_are_drawn(tmp_path):
    pixels = drawn(tmp_path / "a.png", HOSTILE, random_counts(len(HOSTILE)))
    assert max(pixels.shape) < 1400
    assert label_of(3, "$x_y$") == "$x_y$" and label_of(0, "cat") == "cat"
    assert label_of(4, "a \U0001f996") == "4: a □" and label_of(7, "猫") == "7: □"
    assert len(label_of(0, "x" * 99)) == 24


def test_few_classes_have_their_counts_and_many_have_none(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    written, text = [], Axes.text
    monkeypatch.setattr(
        Axes, "text", lambda ax, x, y, s, **rest: (written.append(s), text(ax, x, y, s, **rest))[1]
    )
    drawn(tmp_path / "two.png", ["a", "b"], [[0, 0], [25_000, 7]])
    assert written == ["25k", "7"]
    written.clear()
    drawn(tmp_path / "thirty.png", None, random_counts(30))
    assert len(written) == np.count_nonzero(random_counts(30))
    written.clear()
    drawn(tmp_path / "many.png", None, random_counts(31))
    assert written == []
