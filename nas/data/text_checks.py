"""What is checked of a text's streams as they are read: before the first step.

Shapes: N tokens of a stream.
"""

from typing import Any

from torch import Tensor

from nas.data.declared import check_row, named, read_part
from nas.errors import require


def read_tokens(source: Any, part: str) -> Tensor:
    """Reads a stream of a text source and checks it.

    Args:
        source: a text source; `check_source` has passed it.
        part: `train`, `valid` or `test`.

    Returns:
        int64 [N], at least one token, all within the vocabulary.

    Raises:
        ConfigError: it is not that, or of another length than the source declares.
    """
    tokens_N = read_part(source, part)
    check_tokens(source, tokens_N, part)
    return tokens_N


def check_tokens(source: Any, tokens_N: Any, part: str) -> None:
    """Compares a stream with what its source declares; raises as `read_tokens`."""
    where = named(source)
    check_row(tokens_N, f"{where}: {part}() must return tokens")
    require(len(tokens_N) > 0, f"{where}: {part}() returns no token")
    lowest, highest = int(tokens_N.min()), int(tokens_N.max())
    require(
        lowest >= 0 and highest < source.vocabulary_size,
        f"{where}: the tokens of {part}() run from {lowest} to {highest}, but vocabulary_size="
        f"{source.vocabulary_size} allows 0 to {source.vocabulary_size - 1}",
    )
    declared = getattr(source, "num_tokens", None)
    expected = None if declared is None else declared[("train", "valid", "test").index(part)]
    require(
        expected in (None, len(tokens_N)),
        f"{where}: num_tokens declares {expected} tokens of {part}, but there are {len(tokens_N)}",
    )
