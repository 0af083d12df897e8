"""When and by what a page was made."""

from datetime import UTC, datetime

import nas


def made() -> str:
    """A line for the foot of a page."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"Made {now} by nas.report {nas.__version__} from the files of the folder. It loads nothing."
