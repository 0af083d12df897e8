"""Lists of file names: what they say, what they are read back to, and what is refused."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.data.draw_split import split
from nas.data.lists import given_lists, lists_hash, part_lists, split_from_lists
from nas.data.split import Split
from nas.errors import ConfigError

NAMES = [f"train/{label}/{number}.JPEG" for label in ("cat", "dog") for number in range(4)]


class Named:
    """Eight images of two classes that are files."""

    names = NAMES
    labels = torch.tensor([0] * 4 + [1] * 4)


@pytest.fixture
def files(tmp_path: Path):
    """`files(weight, architecture)` -> {part: path of a file of these lines}."""

    def write(weight: list[str], architecture: list[str]) -> dict[str, str]:
        for part, lines in (("weight", weight), ("architecture", architecture)):
            (tmp_path / f"{part}.txt").write_text("\n".join(lines), encoding="utf-8")
        return {part: str(tmp_path / f"{part}.txt") for part in ("weight", "architecture")}

    return write


def test_a_list_is_a_name_a_line_in_the_order_of_the_images():
    lists = part_lists(Named(), Split(torch.tensor([0, 5]), torch.tensor([1])))
    assert lists == {
        "weight.txt": "train/cat/0.JPEG\ntrain/dog/1.JPEG\n",
        "architecture.txt": "train/cat/1.JPEG\n",
    }


def test_images_that_are_no_files_have_no_lists():
    assert part_lists(object(), Split(torch.tensor([0]), torch.tensor([1]))) == {}
    assert part_lists(None, Split(torch.tensor([0]), torch.tensor([1]))) == {}
    assert lists_hash({}) is None


@given(
    seed=st.integers(0, 99),
    shuffle=st.randoms(use_true_random=False),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_what_was_sampled_comes_back_whatever_the_order_of_lines(seed, shuffle, newline, tmp_path_factory):
    drawn = split(Named.labels, "stratified", 0.5, 1.0, seed)
    folder, paths = tmp_path_factory.mktemp("lists"), {}
    for part in ("weight", "architecture"):
        lines = part_lists(Named(), drawn)[f"{part}.txt"].splitlines()
        shuffle.shuffle(lines)
        paths[part] = str(folder / part)
        Path(paths[part]).write_bytes((newline.join(["", *lines]) + "  ").encode())
    assert split_from_lists(Named(), paths) == drawn


def test_the_sample_is_of_every_class_alike_and_fixed_by_its_seed():
    """DrNAS on ImageNet: 10 % of every class for the weights, 2.5 % for eta, whatever a run's seed."""
    labels = torch.arange(5).repeat_interleave(400)
    parts = split(labels, "stratified", 0.8, 0.125, seed=3)
    assert labels[parts.weight].bincount().tolist() == [40] * 5
    assert labels[parts.architecture].bincount().tolist() == [10] * 5
    assert parts == split(labels, "stratified", 0.8, 0.125, seed=3)
    assert parts != split(labels, "stratified", 0.8, 0.125, seed=4)


def test_the_hash_is_of_names_and_parts_alone():
    lists = part_lists(Named(), Split(torch.tensor([0]), torch.tensor([1])))
    swapped = part_lists(Named(), Split(torch.tensor([1]), torch.tensor([0])))
    assert lists_hash(lists) == lists_hash(dict(reversed(lists.items()))) != lists_hash(swapped)


@pytest.mark.parametrize(
    ("weight", "architecture", "message"),
    [
        ([], NAMES[:1], r"lists\.weight=.*: it lists no image"),
        (["  ", ""], NAMES[:1], r"lists\.weight=.*: it lists no image"),
        (NAMES[:2], [NAMES[1]], r"1 image \(train/cat/1\.JPEG\) is in both"),
        ([NAMES[0], NAMES[0]], NAMES[1:2], r"lists\.weight=.*: 1 image \(train/cat/0\.JPEG\) is listed more"),
        (NAMES[:1], ["cat/1.JPEG"], r"1 image \(cat/1\.JPEG\) is not among .* such as train/cat/0\.JPEG"),
        (NAMES[:1], [f"train/eel/{n}" for n in range(5)], r"5 images \(.*, \.\.\.\) are not among"),
    ],
)
def test_lists_that_cannot_be_used(weight, architecture, message, files):
    with pytest.raises(ConfigError, match=message):
        split_from_lists(Named(), files(weight, architecture))


def test_a_list_that_is_not_there_or_no_text(files, tmp_path):
    paths = files(NAMES[:1], NAMES[1:2])
    with pytest.raises(ConfigError, match=r"dataset\.lists\.architecture=nowhere: there is no such file"):
        split_from_lists(Named(), paths | {"architecture": "nowhere"})
    (tmp_path / "weight.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"dataset\.lists\.weight=.*not UTF-8 text"):
        split_from_lists(Named(), paths)


def test_images_without_names_have_no_use_for_lists(files):
    with pytest.raises(ConfigError, match="its images have no names"):
        split_from_lists(object(), files(NAMES[:1], NAMES[1:2]))


def test_both_lists_or_neither():
    assert given_lists(None) == given_lists({"weight": None, "architecture": None}) == {}
    assert given_lists({"weight": "a", "architecture": "b"}) == {"weight": "a", "architecture": "b"}
    with pytest.raises(ConfigError, match="only weight is given"):
        given_lists({"weight": "a", "architecture": None})
    with pytest.raises(ConfigError, match="unknown parts eta"):
        given_lists({"eta": "a"})
