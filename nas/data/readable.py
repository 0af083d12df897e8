"""Which files of a data set can be decoded: each looked at before a run, and those that cannot left out."""

import logging
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch

from nas.data.listing import Listing
from nas.errors import require
from nas.printable import listed, shown
from nas.reading.pictures import Unreadable

log = logging.getLogger(__name__)
# Threads that decode at the same time: pillow lets others work meanwhile.
THREADS = 8
# Files that are handed to them at once: who interrupts waits for no more.
AT_ONCE = 256
# Files that a message names.
NAMED = 10
# That may be left out: a configuration keeps their names, and more of them are another mistake.
MOST_SKIPPED = 1000
# After a message on one file, of a run that begins or of one that goes on.
HINT = (
    ", or leave out all that cannot be decoded with dataset.skip_corrupt=true in a new run "
    "(dataset.check=true names them all before it begins); a run that is resumed goes on when the file has "
    "been replaced"
)
# After one on all of them.
HINT_AFTER_CHECK = ", or leave them out with dataset.skip_corrupt=true"
# After one on a file of a set from which none is left out.
CHECK_HINT = "; dataset.check=true looks at every file before a run"


@dataclass(frozen=True)
class Flaw:
    """A file that cannot be decoded: its name, as lists have it, and why in a few words."""

    name: str
    reason: str


def each_of(paths: Sequence[Any], look: Callable[[Any], Any]) -> list[tuple[Any, str | None]]:
    """What `look` returns of each path, in their order, and why it could not; several at a time.

    Args:
        paths: files, or whatever else stands for them.
        look: raises `Unreadable` where a file cannot be decoded.

    Raises:
        whatever else `look` raises: it is no matter of the file's content.
    """

    def one(path: Any) -> tuple[Any, str | None]:
        try:
            return look(path), None
        except Unreadable as error:
            return None, reason_in(str(error))

    found: list[tuple[Any, str | None]] = []
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), AT_ONCE):
            found += pool.map(one, paths[start : start + AT_ONCE])
    return found


def flaws_of(listings: Sequence[Listing], read: Callable[[str], Any], what: str) -> list[Flaw]:
    """Decodes every file of some listings once; says so before.

    Args:
        listings: the files.
        read: path -> decoded picture; raises `Unreadable`.
        what: the keys that ask for it.
    """
    named = sorted(pair for one in listings for pair in zip(one.names, one.paths, strict=True))
    log.info("%s: decoding all %s files once (%s)", listings[0].root, f"{len(named):,}", what)

    def look(path: str) -> None:
        read(path)

    found = each_of([path for _, path in named], look)
    return [
        Flaw(name, reason) for (name, _), (_, reason) in zip(named, found, strict=True) if reason is not None
    ]


def refuse(flaws: Sequence[Flaw], count: int, key: str, hint: str) -> None:
    """Refuses files that cannot be decoded, all in one message.

    Args:
        flaws: of them; nothing happens where there is none.
        count: files that were looked at.
        key: what named them.
        hint: what else can be done about it.

    Raises:
        ConfigError: how many they are, and the first of them with the reason.
    """
    require(
        not flaws,
        f"{key}: {len(flaws):,} of {count:,} files cannot be decoded: {told(flaws)}; replace or delete them"
        + hint,
    )


def told(flaws: Sequence[Flaw]) -> str:
    """The first files with their reasons, and how many more there are."""
    words = [f"{shown(one.name, 200)}: {shown(one.reason, 120)}" for one in flaws[:NAMED]]
    return "; ".join(words) + (f"; and {len(flaws) - NAMED:,} more" if len(flaws) > NAMED else "")


def check_skipped(flaws: Sequence[Flaw], count: int, key: str) -> None:
    """Refuses to leave out more than is a matter of a few files, or what a configuration cannot name.

    Raises:
        ConfigError: all files, or too many, cannot be decoded; or a name would be read as a reference.
    """
    require(
        len(flaws) < count and len(flaws) <= MOST_SKIPPED,
        f"{key}: {len(flaws):,} of {count:,} files cannot be decoded, and dataset.skip_corrupt=true leaves "
        f"out at most {MOST_SKIPPED:,} and not all: {told(flaws)}",
    )
    held = [one.name for one in flaws if "${" in one.name or one.name == "???"]
    require(
        not held,
        f"{key}: {listed(held)} cannot be decoded, nor be left out, since a configuration reads ${{ in a "
        "name as a reference, and ??? as a missing value; delete or rename it",
    )


def without(listing: Listing, names: Collection[str]) -> Listing:
    """A listing without some of its files, by the names that lists have."""
    kept = [i for i, name in enumerate(listing.names) if name not in names]
    if len(kept) == len(listing.paths):
        return listing
    paths = tuple(listing.paths[i] for i in kept)
    return replace(listing, paths=paths, labels=listing.labels[torch.tensor(kept, dtype=torch.int64)])


def reason_in(message: str) -> str:
    """The reason alone of a message on a file that cannot be decoded."""
    reason = message.partition(" cannot be decoded: ")[2].partition("; replace or delete the file")[0]
    return reason or message
