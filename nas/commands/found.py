"""What a run says of data of one's own before anything runs: one table, kept in its folder as `found.txt`."""

from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nas.data.found import Found
from nas.running.log_files import keep

FILE = "found.txt"
# Keys of a data set that say how its training part is divided: by a search, and by an evaluation.
SEARCHED, EVALUATED = ("split", "split_ratio", "fraction"), ("split", "fraction", "valid")


def found_of(session: Any, source: Any, data: Any = None) -> Found | None:
    """What the source of a run has found; None where it has no word for it, or it has been said already.

    Args:
        session: the run; a resumed one has its table, and of several processes one speaks.
        source: the data set.
        data: how the run divides it, with `told`; None where it does not.
    """
    ask, there = getattr(source, "found", None), getattr(source, "at_hand", None)
    if ask is None or session.resuming or not session.leads or not (there is None or there()):
        return None
    found = ask()
    if found is None or data is None:
        return found
    return found.with_rows(("split", f"{data.told()} ({_by(session.config)})"))


def files_of(found: Found | None) -> dict[str, str]:
    """The file of a table, as `Session.open` takes it."""
    return {} if found is None else {FILE: found.text()}


def tell(found: Found | None) -> None:
    """Prints a table, at a terminal with lines around it, and keeps it in the log."""
    if found is None:
        return
    console = Console()
    if console.is_terminal:
        table = Table(show_header=False)
        for what, words in found.rows:
            table.add_row(Text(what), Text(words))
        console.print(Text(found.title), soft_wrap=True)
        console.print(table)
    else:
        print(found.text(), end="", flush=True)
    keep(found.text().rstrip("\n"))


def _by(config: DictConfig) -> str:
    given = config.dataset
    if any((given.get("lists") or {}).values()):
        return "dataset.lists"
    keys = SEARCHED if config.command == "search" else EVALUATED
    words = [f"{key}={given[key]}" for key in keys if key in given]
    return ", ".join([*words, f"split_seed={config.split_seed}"])
