"""The genotype of each epoch is recorded, cut back on resuming and read again."""

import pytest

from nas.engine.genotype_log import FILE, GenotypeLog, genotype_of_epoch
from nas.errors import ConfigError
from nas.genotype import load

CELLS = [load(name) for name in ("DARTS_V1", "DARTS_V2", "PC_DARTS_cifar")]


def recorded(folder):
    log = GenotypeLog(folder)
    for epoch, genotype in enumerate(CELLS):
        log.add(epoch, genotype)
    return log


def test_each_epoch_is_found(tmp_path):
    recorded(tmp_path)
    assert [genotype_of_epoch(tmp_path, epoch) for epoch in range(3)] == CELLS
    with pytest.raises(ConfigError, match=r"epoch=3: .* has epochs 0 to 2"):
        genotype_of_epoch(tmp_path, 3)


def test_a_resumed_search_goes_on_before_what_it_repeats_and_what_was_cut_off(tmp_path):
    recorded(tmp_path)
    path = tmp_path / FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    GenotypeLog(tmp_path, first_epoch=2).add(2, CELLS[2])
    assert path.read_bytes() == whole
    log = GenotypeLog(tmp_path, first_epoch=1)
    log.add(1, CELLS[0])
    assert genotype_of_epoch(tmp_path, 1) == CELLS[0]
    with pytest.raises(ConfigError, match="has epochs 0 to 1"):
        genotype_of_epoch(tmp_path, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{\n", "line 1: damaged"),
        ('{"epoch": "0", "genotype": ""}\n', "line 1: .*must have an `epoch`"),
        ('{"epoch": 0, "genotype": "import os"}\n', "epoch 0: genotype: 'import os'"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, text, said):
    with pytest.raises(ConfigError, match=r"no genotypes\.jsonl"):
        genotype_of_epoch(tmp_path, 0)
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match=said) as refused:
        genotype_of_epoch(tmp_path, 0)
    assert "\n" not in str(refused.value)
