"""The page of an evaluation shows which classes it takes for which, whatever they are called."""

import pytest

from nas.analysis.confusion import confusion
from tests.pages.folders import write_search
from tests.pages.test_hostile import EVIL, QUOTED, check

NAMES = (EVIL, QUOTED, "two\nlines", "=cmd", "$x_y$")


def evaluated(folder, found):
    write_search(folder, command="evaluate", test_f1=0.875)
    (folder / "confusion.csv").write_text(found if isinstance(found, str) else found.text())
    return folder


def test_names_are_text_and_mistakes_are_told(tmp_path, page_of, parsed):
    counts = [[7 if i == j else int(i == 1 and j == 2) for j in range(5)] for i in range(5)]
    folder = evaluated(tmp_path / "run", confusion("test", NAMES, counts))
    found = parsed(page_of(folder, command="evaluate", typed=[QUOTED]))
    check(found)
    assert "Which classes are taken for which, of 36 test images" in found.text
    assert r"two\nlines 1 12.5" in found.text and "'=cmd" in found.text and "87.50 %" in found.text


@pytest.mark.parametrize("classes", [40, 41])
def test_of_many_classes_there_is_no_map(tmp_path, page_of, parsed, classes):
    counts = [[int(i == j or i == 0) for j in range(classes)] for i in range(classes)]
    folder = evaluated(tmp_path / "run", confusion("valid", None, counts))
    found = parsed(page_of(folder, command="evaluate"))
    assert ("Which classes are taken for which" in found.text) == (classes == 40)
    assert "The 20 most frequent pairs." in found.text
    assert ("The counts of all 41 classes are in confusion.csv." in found.text) == (classes == 41)


def test_a_damaged_table_costs_itself_alone_and_an_evaluation_without_one_nothing(tmp_path, page_of, parsed):
    found = parsed(page_of(evaluated(tmp_path / "run", "a,b\n1,2\n"), command="evaluate"))
    assert "No table of mistakes: confusion.csv: damaged" in found.text
    without = parsed(page_of(write_search(tmp_path / "b", command="evaluate"), command="evaluate"))
    assert "confusion" not in without.text and "mistake" not in without.text
