"""Random wirings of the DSO-NAS space."""

import torch
from torch import Tensor

from nas.errors import ConfigError, require
from nas.methods.relaxations.scaling import ScalingFactors


class Connections(ScalingFactors):
    """Random architectures of the DSO-NAS space: every scaling factor is 1 with a probability, or else 0.

    Args:
        density: that probability, in (0, 1].

    Raises:
        ConfigError: it is missing or out of range.
    """

    name = "connections"

    def __init__(self, density: float | None = None):
        super().__init__()
        if density is None:
            raise ConfigError(
                "method.density=null: method.relaxation=connections needs the share of connections, above 0 "
                "and at most 1"
            )
        require(0 < density <= 1, f"method.density={density}: must be above 0 and at most 1")
        self.density = density

    def initial(self, num_edges: int, num_operations: int, scale: float) -> Tensor:
        """Zeros and ones.

        Raises:
            ConfigError: `scale` is not 0: noise would bring every absent connection to life.
        """
        require(scale == 0, f"method.init_scale={scale}: connections are drawn as 0 or 1; set it to 0")
        return torch.bernoulli(torch.full((num_edges, num_operations), self.density))
