"""`genotype=<run folder> epoch=N`: the cell of an epoch, recorded or, in older folders, from op weights."""

import csv

import pytest

from nas.domains.epochs import genotype_at, strengths_at
from nas.engine.genotype_log import GenotypeLog
from nas.errors import ConfigError
from nas.genotype import load
from nas.spaces.darts import DartsSpace
from tests.commands.test_bad_input import assert_refused
from tests.commands.test_old_runs import VERSIONS, unpacked


def test_the_recorded_cell_of_an_epoch(tmp_path):
    log = GenotypeLog(tmp_path)
    for epoch, name in enumerate(("DARTS_V1", "DARTS_V2")):
        log.add(epoch, load(name))
    assert genotype_at(None, None, tmp_path, 0) == load("DARTS_V1")
    for reference, epoch, words in (
        (tmp_path, 2, "epoch=2: .* has epochs 0 to 1, counted from 0"),
        ("DARTS_V2", 0, "epoch=0: genotype=DARTS_V2 is no run folder"),
    ):
        with pytest.raises(ConfigError, match=words):
            genotype_at(None, None, reference, epoch)


@pytest.mark.parametrize("version", VERSIONS)
def test_older_folders_where_op_weights_are_what_derivation_ranks(run, version, tmp_path):
    folder = unpacked(version, "darts", tmp_path)
    with (folder / "architecture.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    last, names = int(rows[-1]["epoch"]), list(dict.fromkeys(row["operation"] for row in rows))
    given = (f"genotype={folder}", "dataset=digits", "recipe.num_cells=3", "recipe.init_channels=2")
    done = run("cost", *given, f"space.operations=[{','.join(names)}]", f"epoch={last}")
    assert done.status == 0 and done.out.startswith(str(load(folder))), done.err
    for operations, epoch, words in (
        (names, 999, f"epoch=999: .*epochs 0 to {last}"),
        (names[:-1], 0, "other edges or operations"),
    ):
        with pytest.raises(ConfigError, match=words):
            strengths_at(folder, DartsSpace("mine", operations), epoch)
    folder = unpacked(version, "drnas", tmp_path)
    refused = run("cost", f"genotype={folder}", "epoch=0", "space=nasbench201", "dataset=digits")
    assert_refused(refused, "derivation ranks something else here (Dirichlet)")
