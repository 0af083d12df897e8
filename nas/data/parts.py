"""The training and the test part of a set of picture files, and which files are left out of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nas.data.listing import Listing
from nas.data.own import draw_test
from nas.data.readable import HINT_AFTER_CHECK, Flaw, check_skipped, flaws_of, reason_in, refuse, without
from nas.errors import ConfigError, require
from nas.printable import listed

# path -> decoded picture; raises ConfigError.
Read = Callable[[str], Any]


@dataclass(frozen=True)
class Parts:
    """What lies in a data set of files.

    Attributes:
        train, test: both parts, whose classes are the same.
        origins: where each comes from, in words.
        unread: parts that nobody reads.
        skipped: files that are left out of both parts.
    """

    train: Listing
    test: Listing
    origins: tuple[str, str]
    unread: tuple[str, ...] = ()
    skipped: tuple[Flaw, ...] = ()

    @property
    def count(self) -> int:
        """Files of both parts."""
        return len(self.train.paths) + len(self.test.paths)

    def without(self, flaws: Sequence[Flaw]) -> "Parts":
        """The same with further files left out."""
        gone = {one.name for one in flaws}
        train, test = (without(one, gone) for one in (self.train, self.test))
        return Parts(train, test, self.origins, self.unread, (*self.skipped, *flaws))


def drawn(listing: Listing, share: float, seed: int, of: str = "") -> Parts:
    """A training and a test part with the share of every class; raises as `draw_test`.

    Args:
        listing: all files.
        share: of the test part.
        seed: of the draw.
        of: what they are all of, such as ` of train`, for a table.
    """
    train, test = (
        replace(listing, paths=tuple(listing.paths[i] for i in part.tolist()), labels=listing.labels[part])
        for part in draw_test(listing.labels, share, seed)
    )
    how = f"drawn{of} by test_share={share}, test_seed={seed}"
    return Parts(train, test, (f"what the test part leaves{of}", how))


def readable(
    parts: Parts, read: Read, key: str, check: bool, skip: bool, skipped: Sequence[str] | None
) -> Parts:
    """The parts without files that cannot be decoded, where that is asked for.

    A part keeps its other files whatever is left out, so that it is the same where those are mended.

    Args:
        parts: all files.
        read: decodes one.
        key: what names the files.
        check: whether to decode every file.
        skip: whether to leave out what cannot be decoded; every file is decoded for it once.
        skipped: names of what was left out before, which holds from then on; None for the first time.

    Raises:
        ConfigError: a file cannot be decoded and is not to be left out, too many cannot, one that was left
            out has gone, or nothing is left of a class or of the test part.
    """
    first = skip and skipped is None
    if skipped is not None:
        parts = parts.without(_left_out_before(parts, read, key, {*skipped}))
    if check or first:
        keys = [name for name, asked in (("check", check), ("skip_corrupt", first)) if asked]
        asked_by = ", ".join(f"dataset.{name}=true" for name in keys)
        flaws, count = flaws_of([parts.train, parts.test], read, asked_by), parts.count
        if first:
            check_skipped(flaws, count, key)
            parts = parts.without(flaws)
        else:
            anew = "" if skipped is None else " and dataset.source.skipped=null"
            refuse(flaws, count, key, f"{HINT_AFTER_CHECK}{anew}")
    if parts.skipped:
        _check_left(parts, key)
    return parts


def _check_left(parts: Parts, key: str) -> None:
    present = set(parts.train.labels.tolist())
    lost = [name for i, name in enumerate(parts.train.classes) if i not in present]
    require(
        not lost,
        f"{key}: no training picture of class {listed(lost)} is left, since none that it has can be decoded; "
        "replace them, or delete the class",
    )
    require(
        len(parts.test.paths) > 0,
        f"{key}: no test picture is left, since none that there are can be decoded; replace them",
    )


def _left_out_before(parts: Parts, read: Read, key: str, names: set[str]) -> list[Flaw]:
    paths = {
        name: path
        for one in (parts.train, parts.test)
        for name, path in zip(one.names, one.paths, strict=True)
    }
    # The test part was drawn with them: without one it would be another, of pictures that were trained on.
    gone = sorted(names - paths.keys())
    require(
        not gone,
        f"{key}: dataset.source.skipped names {listed(gone)}, which {'has' if len(gone) == 1 else 'have'} "
        "gone; put any file there, so that the parts stay what they were, or begin a new run with "
        "dataset.source.skipped=null, which divides them anew",
    )
    return [Flaw(name, _reason(paths[name], read)) for name in sorted(names)]


def _reason(path: str, read: Read) -> str:
    """Why a file cannot be decoded, as it is now."""
    try:
        read(path)
    except ConfigError as error:
        return reason_in(str(error))
    return "left out as before; it can be decoded now"
