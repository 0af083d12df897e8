"""The rows of the table in docs/performance.md: what `nas.bench` is told for each."""

from collections.abc import Mapping
from dataclasses import dataclass

DARTS = "space=darts dataset=cifar10 bench.data=false bench.reference=true"


@dataclass(frozen=True)
class Row:
    """A run of `nas.bench`.

    Attributes:
        about: what it measures, in words.
        words: what is typed.
    """

    about: str
    words: str


ROWS: Mapping[str, Row] = {
    "darts_batch16": Row(
        "DARTS space, 8 cells, C=16, batch 16",
        f"{DARTS} dataset.batch_size=16 bench.steps=[weight,first_order,second_order] bench.rounds=5",
    ),
    "darts_batch16_channels_last": Row(
        "the same, reference in channels-last",
        f"{DARTS} dataset.batch_size=16 bench.steps=[weight,first_order,second_order] bench.rounds=5 "
        "bench.reference_channels_last=true",
    ),
    "darts_batch64": Row(
        "DARTS space, 8 cells, C=16, batch 64",
        f"{DARTS} dataset.batch_size=64 bench.steps=[weight,first_order] bench.rounds=3",
    ),
    "darts_batch1": Row(
        "DARTS space, 8 cells, C=16, batch 1",
        f"{DARTS} dataset.batch_size=1 bench.steps=[weight] bench.rounds=9",
    ),
    "darts_validation": Row(
        "DARTS space, 8 cells, C=16, batch 64: validation",
        f"{DARTS} dataset.batch_size=64 bench.steps=[] bench.validation=true bench.rounds=5",
    ),
    "drnas": Row(
        "DrNAS, both stages: 20 cells, C=36, batch 16",
        "experiment=drnas/cifar10_search dataset.batch_size=16 bench.data=false bench.reference=true "
        "bench.steps=[weight,first_order] bench.rounds=3",
    ),
    "nasbench201": Row(
        "NAS-Bench-201, C=16, N=5, batch 64",
        "space=nasbench201 method=drnas_nb201 dataset=cifar10 bench.data=false bench.reference=true "
        "bench.steps=[weight,first_order] bench.rounds=5",
    ),
    "recurrent": Row(
        "recurrent space, 300 units, batch 64, 35 words",
        "space=darts_rnn dataset.batch_size=64 bench.reference=true bench.rounds=5",
    ),
    "evaluation": Row(
        "evaluation network DARTS_V2, 20 cells, C=36, batch 32",
        "space=darts dataset=cifar10 bench.data=false bench.steps=[] bench.evaluation=true bench.rounds=5",
    ),
}
