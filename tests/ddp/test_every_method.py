"""Two processes with half a batch each are one with the whole, for every method that is defined there."""

import json
import sys

import pytest

from experiments.methods.matrix import names
from tests.ddp.starting import start, wait

METHODS = [name for name in names("method") if name not in ("random", "dsonas_random")]


@pytest.fixture(scope="module")
def differences(tmp_path_factory):
    """{method: largest difference, or why it is refused}, by one pair of processes that goes through all."""
    folder = tmp_path_factory.mktemp("pair")
    words = [str(folder / "store"), str(folder / "report.json"), *METHODS]
    pair = [
        start(folder / str(rank), [sys.executable, "-m", "tests.ddp.pair", str(rank), *words])
        for rank in (0, 1)
    ]
    ends = [wait(folder / str(rank), process) for rank, process in enumerate(pair)]
    assert [end.status for end in ends] == [0, 0], ends[0].err + ends[1].err
    return json.loads((folder / "report.json").read_text())


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_are_one(method, differences):
    found = differences[method]
    if isinstance(found, str):
        # A worst case is that of a batch, of which each process has a half.
        assert method == "sdarts_adv" and "looks at the batch of one process" in found
        return
    assert found < 1e-9
