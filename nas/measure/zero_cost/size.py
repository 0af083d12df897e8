"""How large a network is: what every other measure has to beat."""

from torch import nn

from nas.measure.zero_cost.base import Measure, Probe

ANY = ("images", "text")


class Params(Measure):
    """Parameters of the network, without an auxiliary head."""

    batches, domains, copies = 0, ANY, False

    def score(self, network: nn.Module, probe: Probe) -> float:
        """As counted."""
        return probe.params


class Macs(Measure):
    """Multiply-adds of one image, or of one word."""

    batches, domains, copies = 0, ANY, False

    def score(self, network: nn.Module, probe: Probe) -> float:
        """As counted."""
        return probe.macs
