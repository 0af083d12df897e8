"""The lists of a search's images in its run folder: what another machine or framework is given."""

import os
from typing import Any

from nas.data.lists import lists_hash, part_lists
from nas.data.split import Split
from nas.engine.run_folder import RunFolder
from nas.errors import require
from nas.files import write_text
from nas.reading.files import MEBIBYTE, read_text


def keep_lists(folder: RunFolder, images: Any, split: Split, new: bool) -> dict[str, str]:
    """Writes `weight.txt` and `architecture.txt` into a new run folder, and holds a resumed run to them.

    The split's own hash is of places in the sorted list of files: it stays the same where one file was
    replaced by another of the same place.

    Args:
        folder: of the search.
        images: its training images; those that are no files have no lists, and nothing is written.
        split: which of them are in which part.
        new: whether this process opens the folder; a resumed run, or another process of several, does not.

    Returns:
        What the summary says of them.

    Raises:
        ConfigError: the folder holds other lists.
    """
    lists = part_lists(images, split)
    for name, text in lists.items():
        path = folder / name
        if new:
            write_text(path, text)
        elif os.path.lexists(path):
            require(
                read_text(path, at_most=1024 * MEBIBYTE) == text,
                f"{path}: the run was started on other image files than dataset.root holds now",
            )
    digest = lists_hash(lists)
    return {} if digest is None else {"split_files_hash": digest}
