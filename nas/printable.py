"""Text that came from a file, a file name or a command line, made fit for a terminal and a message.

Standard library only. A file name may hold the bytes that clear a screen or turn the order of letters round.
"""

from collections.abc import Sequence


def printable(text: str, keep: str = "") -> str:
    """The text with every character that a terminal would act on, or could not show, written as an escape.

    That is every control, format, surrogate, private and unassigned character and every blank but the space:
    `str.isprintable` says which.

    Args:
        text: any text.
        keep: characters that stay as they are, such as a line break.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in keep else one.encode("unicode_escape").decode("ascii")
        for one in text
    )


def shortened(text: str, limit: int = 4000) -> str:
    """A message, cut in its middle where it is long: its beginning says what, its end how to mend it."""
    left = len(text) - limit
    return text if left <= 0 else f"{text[: limit // 2]}... ({left:,} characters) ...{text[-limit // 2 :]}"


def shown(value: object, limit: int = 80) -> str:
    """A value as a message quotes it: one line, printable, and no longer than `limit` characters."""
    if isinstance(value, int) and value.bit_length() > 4 * limit:
        # Python refuses to write down very long numbers.
        return f"a whole number of {value.bit_length():,} bits"
    try:
        text = value if isinstance(value, str) else repr(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__} that holds a very long number, or is nested very deeply"
    # Cut before escaping too: what is thrown away need not be looked at.
    text = printable(text[: limit + 1])
    return text if len(text) <= limit else f"{text[: max(1, limit - 3)]}..."


def listed(values: Sequence[object], most: int = 5) -> str:
    """The first of some names or numbers, and how many more there are."""
    first = ", ".join(shown(one if isinstance(one, str) else str(one)) for one in values[:most])
    return first if len(values) <= most else f"{first} and {len(values) - most} more"
