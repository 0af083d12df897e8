"""`nas.rank` of columns of costs: which device's table stands for which other."""

import csv
import json

import pytest

from tests.analysis.test_plots import picture
from tests.commands.test_costs import tables
from tests.shared import shared

__all__ = ["tables"]
SPACE = ("space=nasbench201", "dataset=cifar10")


@pytest.mark.pictures
def test_columns_are_ranked_against_each_other(run, tables, tmp_path):
    done = run("rank", *SPACE, *tables[0], f"hydra.run.dir={tmp_path}")
    assert (done.status, done.err) == (0, "")
    with (tmp_path / "devices.csv").open(newline="") as file:
        found = {(row["known"], row["target"]): row for row in csv.DictReader(file)}
    devices = ("phone", "board", "chip")
    assert set(found) == {(a, b) for a in devices for b in devices if a != b}
    # The board is the phone where it is known; all chips cost the same.
    assert float(found["phone", "board"]["spearman"]) == pytest.approx(1.0)
    assert found["phone", "chip"]["spearman"] == ""
    assert int(found["phone", "board"]["n"]) < int(found["phone", "chip"]["n"]) == 15_625
    phone = found["phone", "board"]
    assert float(phone["regret_p30"]) == 0 and float(phone["overrun_p30"]) <= 0
    numbers = json.loads((tmp_path / "summary.json").read_text())
    assert (numbers["devices"], numbers["tables_needed"]) == (3, 2)
    assert "phone" in done.out and "itself alone" in done.out
    picture(tmp_path / "figures/devices.png")


def test_the_architectures_are_those_of_the_space(run, tables, tmp_path):
    few = "space.operations=[none,nor_conv_3x3]"
    assert run("rank", *SPACE, *tables[0], few, f"hydra.run.dir={tmp_path}").status == 0
    with (tmp_path / "devices.csv").open(newline="") as file:
        found = {(row["known"], row["target"]): row for row in csv.DictReader(file)}
    assert int(found["phone", "chip"]["n"]) == 64


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["sample=5"], "sample: without effect with tabular.costs"),
        (["measures=[naswot]"], "measures: without effect with tabular.costs"),
        (["tabular.cost=phone"], "tabular.cost: without effect"),
        (["dataset=digits", "tabular.metric=auto"], "tabular.metric=auto: no column"),
    ],
)
def test_what_has_no_effect_is_refused(run, tables, tmp_path, overrides, words):
    done = run("rank", *SPACE, *tables[0], *overrides, f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 2 and words in done.err
    assert not (tmp_path / "a/config.yaml").exists()


def test_seven_tables_or_so_stand_for_the_27_real_devices(run, tmp_path):
    table, costs = (shared(f"data/nasbench201/nb201{one}.csv.gz") for one in ("", "_latency_27devices"))
    given = (f"tabular.file={table}", f"tabular.costs={costs}")
    done = run("rank", *SPACE, *given, f"hydra.run.dir={tmp_path}")
    assert done.status == 0
    numbers = json.loads((tmp_path / "summary.json").read_text())
    assert (numbers["devices"], numbers["tables_needed"]) == (27, 8)
    assert numbers["spearman_least"] == pytest.approx(0.36, abs=0.01)
