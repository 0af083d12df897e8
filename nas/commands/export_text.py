"""What `nas.export` does for networks of text: one step, its state passed on, compared over a text."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from nas.data.checks import read_tokens
from nas.data.tokens import WORDS
from nas.domains.networks import sizes_of
from nas.engine.language_evaluation import STATE
from nas.errors import ConfigError, require
from nas.formats import families
from nas.formats.comparison import predict_text
from nas.formats.description import TextDescription
from nas.formats.steps import state_size_of
from nas.running.config import typed_keys
from nas.running.places import PLACES

# Columns that the text is read in: no number that an exporter could take for a constant.
COLUMNS = 3


class TextExport:
    """A network of text on its way out; see `nas.commands.export_images.ImageExport`.

    Raises:
        ConfigError: pictures are to be compared.
    """

    images = False
    pixels = True
    known = True

    def __init__(self, config: DictConfig, space: Any, source: Any):
        self.config, self.space, self.source = config, space, source
        require(
            config.pictures is None,
            f"pictures={config.pictures}: space={space.name} has networks of text, compared on words",
        )
        require(config.words >= COLUMNS, f"words={config.words}: must be at least {COLUMNS}")

    def settle(self, network: nn.Module) -> None:
        """Nothing: these networks have no norms."""

    def weights(self, checkpoint: Any) -> dict[str, Any]:
        """See `best_weights`."""
        return best_weights(checkpoint)

    def describe(self, genotype: Any, notes: dict[str, Any]) -> TextDescription:
        """What the files say of the network."""
        return describe_text(self.config, self.space, self.source, genotype, notes)

    def told(self, description: Any) -> dict[str, Any]:
        """What `summary.json` says of it."""
        return {"vocabulary": description.vocabulary, "state_size": description.state_size}

    def written(self, network: nn.Module, description: Any) -> nn.Module:
        """The step that is exported."""
        step = families.build(description)
        step.load_state_dict(network.state_dict())
        return step

    def compared(self, network: Any, description: Any) -> tuple[Tensor, Callable[[Callable], Tensor], str]:
        """Logits of the trained network, which reads the text at once, and what runs a step over it."""
        tokens_TB, words = self._tokens(description)
        with torch.no_grad():
            expected_NV = network(tokens_TB)[0].flatten(0, 1)
        return (
            expected_NV,
            partial(predict_text, tokens_TB=tokens_TB, state_size=description.state_size),
            words,
        )

    def _tokens(self, description: TextDescription) -> tuple[Tensor, str]:
        """Words in columns [T, B], and what they are."""
        number, unit = self.config.words // COLUMNS * COLUMNS, description.unit
        if description.words is None:
            generator = torch.Generator().manual_seed(self.config.seed)
            tokens_N = torch.randint(description.vocabulary, (number,), generator=generator)
            words = f"{number} random {unit} (those of {self.source.name} are not on this machine)"
        else:
            tokens_N = read_tokens(self.source, "test")[:number]
            tokens_N = tokens_N[: len(tokens_N) // COLUMNS * COLUMNS]
            words = f"{len(tokens_N)} {unit} of the test text of {self.source.name}"
        return tokens_N.view(COLUMNS, -1).t(), words


def describe_text(
    config: DictConfig, space: Any, source: Any, genotype: Any, notes: dict[str, Any]
) -> TextDescription:
    """What is to be known of a network and its words; `TextExport` has the arguments."""
    sizes = sizes_of(config, space)
    hidden = sizes["hidden_size"]
    return TextDescription(
        genotype,
        hidden_size=hidden,
        embedding_size=sizes["embedding_size"] or hidden,
        tied=space.tied,
        state_size=state_size_of(genotype, hidden),
        vocabulary=source.vocabulary_size,
        dataset=source.name,
        words=_words(source),
        tokenizer=getattr(source, "tokenizer", WORDS),
        notes=notes,
    )


def _words(source: Any) -> tuple[str, ...] | None:
    try:
        return tuple(source.words())
    except ConfigError:
        if any(f"dataset.{place}" in typed_keys() for place in PLACES):
            raise
        return None


def best_weights(checkpoint: Any) -> dict[str, Any]:
    """The best weights on the validation text, which the evaluation tests; else the checkpoint's."""
    # `best.pt` beside the checkpoints holds them alone.
    best = checkpoint if "weights" in checkpoint else (checkpoint.get(STATE) or {}).get("best") or {}
    tested = {f"network.{name}": value for name, value in best.get("weights", {}).items()}
    return checkpoint.get("state_dict", {}) | tested
