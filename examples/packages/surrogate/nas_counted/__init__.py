"""What a surrogate looks like: figures of an architecture from how often each operation occurs in it.

The numbers are made up and fitted to nothing: they show how a surrogate is written, and say nothing about
networks.
"""

from collections.abc import Mapping

from nas.genotype import Genotype

GAINS = {"sep_conv_3x3": 0.4, "sep_conv_5x5": 0.5, "nor_conv_3x3": 0.8, "skip_connect": -0.1, "none": -0.9}
MILLISECONDS = {"sep_conv_3x3": 1.2, "sep_conv_5x5": 2.0, "nor_conv_3x3": 1.5, "skip_connect": 0.1}


class Counted:
    """A linear model of the number of each operation.

    Args:
        base: accuracy in percent of an architecture whose operations add nothing.
        gains: percentage points for each occurrence of an operation; those above where nothing is said.
    """

    def __init__(self, base: float = 90.0, gains: Mapping[str, float] | None = None):
        self.base, self.gains = base, GAINS if gains is None else dict(gains)

    def __call__(self, genotype: Genotype) -> dict[str, float]:
        names = [edge.operation for _, cell in genotype.cells for _, edge in cell.edges]
        accuracy = self.base + sum(self.gains.get(name, 0.0) for name in names)
        return {
            "cifar10_test": min(max(accuracy, 10.0), 100.0),
            "phone_ms": 3.0 + sum(MILLISECONDS.get(name, 0.5) for name in names),
        }
