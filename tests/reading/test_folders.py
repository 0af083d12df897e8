"""What operating systems and notebooks leave in a folder is passed over; all else is there, in order."""

import os

from nas.reading.folders import files_below, files_below_each, visible


def test_what_nobody_put_there_is_passed_over(tmp_path):
    for name in ("b/deep", "a", ".ipynb_checkpoints", "__MACOSX", "b/.cache"):
        (tmp_path / name).mkdir(parents=True)
    for name in (
        "b/2.png",
        "b/10.png",
        "b/deep/x.png",
        "a/1.png",
        ".DS_Store",
        "b/._2.png",
        "b/.cache/y.png",
    ):
        (tmp_path / name).touch()
    (tmp_path / "a/gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a/there.png").symlink_to(tmp_path / "b/2.png")
    (tmp_path / "b/above").symlink_to(tmp_path)
    entries, passed = visible(tmp_path)
    assert [entry.name for entry in entries] == ["a", "b"]
    assert [os.path.basename(one) for one in passed] == [".DS_Store", ".ipynb_checkpoints", "__MACOSX"]
    files, passed = files_below(tmp_path / "a")
    assert [os.path.relpath(one, tmp_path) for one in files + passed] == [
        "a/1.png",
        "a/there.png",
        "a/gone.png",
    ]
    files, passed = files_below(tmp_path / "b")
    assert [os.path.relpath(one, tmp_path) for one in files] == ["b/10.png", "b/2.png", "b/deep/x.png"]
    assert [os.path.relpath(one, tmp_path) for one in passed] == ["b/._2.png", "b/.cache", "b/above"]


def test_the_order_is_that_of_a_sorted_walk(tmp_path):
    """Labels and splits of folders that have been used before do not move."""
    for name in ("z", "a b", "a", "a/c", "B"):
        (tmp_path / name).mkdir(exist_ok=True)
        for file in ("10.png", "2.png", "é.png"):
            (tmp_path / name / file).touch()
    walked = [
        os.path.join(root, name) for root, _, names in sorted(os.walk(tmp_path)) for name in sorted(names)
    ]
    assert files_below(tmp_path)[0] == walked


def test_folders_that_link_to_each_other_are_read_once_and_belong_to_whoever_holds_them(tmp_path):
    for name in ("a", "b", "b/deep", "far"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    for link, target in (("a/x", "b"), ("a/y", "b/deep"), ("b/x", "a"), ("b/y", "a"), ("a/z", "far")):
        (tmp_path / link).symlink_to(tmp_path / target)
    (tmp_path / "b/z").symlink_to(tmp_path / "far")
    found, passed = files_below_each([tmp_path / "a", tmp_path / "b"])
    relative = [[os.path.relpath(one, tmp_path) for one in files] for files in (*found, passed)]
    assert relative[0] == ["a/1.png", "a/z/1.png"]
    assert relative[1] == ["b/1.png", "b/deep/1.png"]
    assert relative[2] == ["a/x", "a/y", "b/x", "b/y", "b/z"]
    files, _ = files_below(tmp_path / "a")
    assert [os.path.relpath(one, tmp_path) for one in files] == [
        "a/1.png",
        "a/x/1.png",
        "a/x/deep/1.png",
        "a/z/1.png",
    ]
