"""A search on text: the state passes from one piece to the next."""

from torch import Tensor, nn

from nas.data.text_pieces import Piece, SearchPiece
from nas.engine.averaging import scaled
from nas.engine.search_module import SearchModule
from nas.engine.tasks import Language, Task, TextBatch
from nas.methods.method import Method


class LanguageSearch(SearchModule):
    """A search on text: the state of either stream passes from one piece to the next, without a gradient.

    The stream of the weights and that of the architecture are read side by side, each with a state of its
    own, and both start anew with the epoch (the authors' code for language models).
    """

    def __init__(self, supernet: nn.Module, method: Method, task: Language):
        super().__init__(supernet, method, task)
        self._hidden: dict[str, Tensor | None] = {}

    def parts(self, batch: SearchPiece) -> tuple[TextBatch, TextBatch]:
        """The two pieces of a step, with their states."""
        return self._batch("weight", batch.weight), self._batch("architecture", batch.architecture)

    def _batch(self, stream: str, piece: Piece) -> TextBatch:
        hidden_1BH = None if piece.first else self._hidden.get(stream)
        return TextBatch(piece.tokens_LB, piece.targets_LB, hidden_1BH, piece.rate)

    def _step(self, weight_batch: TextBatch, architecture_batch: TextBatch) -> None:
        # The virtual step of second order takes this step's rate too.
        with scaled(self.optimizers()[0], weight_batch.rate):
            super()._step(weight_batch, architecture_batch)
        self._hidden["weight"] = weight_batch.next_1BH
        # None where the architecture rests: its stream has not been read.
        self._hidden["architecture"] = architecture_batch.next_1BH

    def validation_step(self, batch: Piece, batch_idx: int) -> None:
        """Loss on a piece of the validation stream, from the state that the one before left."""
        piece = self._batch("validation", batch)
        super().validation_step(piece, batch_idx)
        self._hidden["validation"] = piece.next_1BH


def search_module(supernet: nn.Module, method: Method, task: Task) -> SearchModule:
    """The search of a task."""
    return (LanguageSearch if isinstance(task, Language) else SearchModule)(supernet, method, task)
