"""The memory of DrNAS's table 1: which searches are asked for, and what the record says of the estimates."""

import pytest

from experiments.drnas import memory
from experiments.rows.items import blocks, every_row, headers


def test_published_megabytes_are_those_of_the_list_of_rows():
    table = [row for row in every_row(blocks()) if row.table == "drnas/table1"]
    for name, *figures in (row.cells for row in table):
        said = [int(figure.rpartition(", ")[2]) for figure in figures]
        found = {
            tuple(
                case.published
                for case in memory.cases()
                if case.row.startswith(name) and case.dataset == title
            )
            for title in memory.DATASETS.values()
        }
        assert {number for numbers in found for number in numbers} == set(said), name


def test_every_search_is_an_experiment():
    assert {case.experiment for case in memory.cases()} <= set(headers())
    assert memory.cases()[-1].row == memory.GTX_1080_TI


def test_the_record_says_that_these_are_estimates(tmp_path):
    rows = [
        {"row": f"K = {k}", "data": "CIFAR-10", "stage": "", "batch": 64, "paper (MB)": paper,
         "step, estimated (MB)": 900 // k, "device, estimated (MB)": 1000 + 900 // k, "fits": "yes",
         "limit": 10.9 * memory.GIB, "experiment": "drnas/nb201_cifar10", "partial": k}
        for k, (paper, _) in memory.PUBLISHED.items()
    ]  # fmt: skip
    text = memory._report(rows, "gtx1080ti")
    assert "estimates, not measurements" in text and "10.9 GiB" in text
    assert "K = 8 takes 1,488\nMB less, the estimate 788 MB" in text
    assert memory._draw(rows, tmp_path) == [tmp_path / "memory.png"]


def test_a_row_that_is_none_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        memory.main(["--results", str(tmp_path), "--only", "K = 3"])
    assert end.value.code == 2 and "there are K = 1, K = 2" in capsys.readouterr().err
