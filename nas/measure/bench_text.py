"""What `nas.bench` measures on text: a made-up batch, and the literal recurrent networks of the tests.

A batch is made up: as many time steps as a usual piece has (`dataset.bptt.steps`), columns side by side,
every word equally frequent, read from the start of a text.

Shapes: L time steps, B columns, V words, H hidden units.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nas.engine.tasks import TextBatch
from nas.errors import ConfigError, require
from nas.genotype import Genotype
from nas.measure.steps import Numerics
from nas.spaces.recurrent.language_model import Dropouts, Extras, keep_mask
from nas.spaces.recurrent.network import RecurrentNetwork
from nas.spaces.recurrent.space import RecurrentSpace
from nas.spaces.recurrent.supernet import RECURRENT


def text_batch(where: Numerics, steps: int, columns: int, vocabulary: int, seed: int) -> TextBatch:
    """Words drawn uniformly and those that follow them: a step takes as long on them as on a real text.

    Raises:
        ConfigError: there is not one time step or column.
    """
    require(steps >= 1, f"dataset.bptt.steps={steps}: must be at least 1")
    require(columns >= 1, f"dataset.batch_size={columns}: must be at least 1")
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(vocabulary, (steps + 1, columns), generator=generator).to(where.device)
    return TextBatch(words[:-1], words[1:])


def check_text(settings: Mapping, space: RecurrentSpace) -> None:
    """Refuses what has no meaning on a text, or cannot be measured there.

    Args:
        settings: the keys `bench.*`.
        space: that is measured.

    Raises:
        ConfigError: a key asks for such a thing, or the literal networks have no such sizes.
    """
    where = f"space={space.name}"
    require(
        not settings["data"],
        f"bench.data=true: {where} reads text, which is not augmented; set bench.data=false",
    )
    require(
        not settings["loop"],
        f"bench.loop=true: it measures a loader of images, and {where} reads text; set bench.loop=false",
    )
    require(
        not settings["alive"],
        f"bench.alive={list(settings['alive'])}: candidates of {where} have no matrices of their own, so its "
        "network does not shrink as they die; set bench.alive=[]",
    )
    require(
        not settings["reference"] or (space.tied and space.embedding_size in (None, space.hidden_size)),
        f"bench.reference=true: the literal network ties its matrices; space.tied={space.tied} and "
        f"space.embedding_size={space.embedding_size} must be true and null, or set bench.reference=false",
    )


class LiteralWithMasks(nn.Module):
    """A literal network of the tests with masks drawn as ours draws them, and our forward's signature.

    Args:
        literal: `forward(tokens, op_weights, hidden, masks) -> (logits, hidden, dropped, raw)`.
        dropouts: probabilities of dropping.
    """

    def __init__(self, literal: nn.Module, dropouts: Dropouts):
        super().__init__()
        self.literal: Any = literal
        self.dropouts = dropouts

    def forward(self, tokens_LB: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Extras]:
        """Words, the op weights of a supernet, hidden state -> logits [L, B, V], hidden state, extras."""
        *op_weights, hidden_1BH = rest
        weights_EO = op_weights[0][RECURRENT] if op_weights else None
        outputs = self.literal(tokens_LB, weights_EO, hidden_1BH, self._masks(tokens_LB.shape[1]))
        logits_LBV, hidden_1BH, dropped_LBH, raw_LBH = outputs
        return logits_LBV, hidden_1BH, Extras(dropped_LBH, raw_LBH)

    def _masks(self, columns: int) -> dict[str, Tensor]:
        if not self.training:
            return {}
        embedding_VH, rates = self.literal.embedding, self.dropouts
        words, size = embedding_VH.shape
        drawn = {"rows": keep_mask((words,), rates.embed, embedding_VH)}
        for name in ("input", "x", "hidden", "output"):
            drawn[name] = keep_mask((columns, size), getattr(rates, name), embedding_VH)
        return {name: mask for name, mask in drawn.items() if mask is not None}


def literal_network(literal: Callable, genotype: Genotype, network: nn.Module) -> LiteralWithMasks:
    """The literal network that computes what an evaluation network of ours does.

    Args:
        literal: `(genotype, vocabulary, hidden_size) -> network`.
        genotype: of the cell.
        network: ours; gives sizes and dropouts.

    Raises:
        ConfigError: the network is torch's LSTM, or its matrices are not tied.
    """
    if not isinstance(network, RecurrentNetwork) or not network.tied:
        raise ConfigError(
            "bench.evaluation=true: there is no literal network of an LSTM, nor of matrices that are not "
            "tied; choose another genotype and space.tied=true, or set bench.evaluation=false"
        )
    return LiteralWithMasks(literal(genotype, network.vocabulary, network.hidden_size), network.dropouts)
