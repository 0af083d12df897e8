"""How long a data set takes to read an image: files are decoded, which no timed step pays for."""

import time
from typing import Any

LOOKED_AT = 8


def reading_seconds(source: Any, workers: int) -> float:
    """Seconds of one training image from a data set, divided among its workers; 0 where images are in memory.

    Args:
        source: of images or text.
        workers: processes that read.
    """
    if not hasattr(source, "at_hand"):
        return 0.0
    images = source.train()
    count = min(LOOKED_AT, len(images))
    start = time.perf_counter()
    for number in range(count):
        images[number * len(images) // count]
    return (time.perf_counter() - start) / max(1, count) / max(1, workers)
