"""What may be typed beside `resume=`: how a run is computed and shown and for how long, not what it is."""

import os
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from nas.errors import require
from nas.running.saved import read_overrides
from nas.running.words import key_of

# The commands whose runs go on by `nas.running.resuming`.
COMMANDS = ("search", "evaluate")
RESUMABLE = (
    "hardware",
    "logger",
    "checkpoint",
    "dataset.download",
    "processes",
    "resume_schedule",
    "tabular.file",
    "tabular.costs",
    "time_limit",
    "traceback",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.max_epochs",
    "trainer.profiler",
)


def changes(folder: Path, overrides: Sequence[str]) -> list[tuple[str, str]]:
    """The overrides that change something of a run, each behind its dotted key.

    Args:
        folder: of the run.
        overrides: what was typed, `resume=` and `trust=` included.

    Raises:
        ConfigError: one would change what is computed.
    """
    given = _given_before(folder)
    found = []
    for override in overrides:
        key = key_of(override).split("@")[0].replace("/", ".")
        # Typing the whole first command again changes nothing.
        if key in ("resume", "trust") or (override in given and key.split(".")[0] != "logger"):
            continue
        require(
            any(key == allowed or key.startswith(f"{allowed}.") for allowed in RESUMABLE),
            f"{override}: a resumed run keeps its settings; only {', '.join(RESUMABLE)} can change",
        )
        found.append((key, override))
    return found


def check_uncomposed(name: str | None, overrides: Sequence[str]) -> None:
    """Refuses what a resumed run does not take, where nothing could be composed of it.

    The choices of the run are not typed, so that Hydra may know none of its keys.

    Args:
        name: the command.
        overrides: its command line.

    Raises:
        ConfigError: as `changes`.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    named = next((one.value() for one in parsed if one.key_or_group == "resume"), None)
    if name in COMMANDS and named is not None:
        folder = Path(getattr(named, "text", str(named))).expanduser().absolute()
        changes(folder, [str(one.input_line) for one in parsed if not one.is_hydra_override()])


def _given_before(folder: Path) -> list[str]:
    path = folder / "overrides.yaml"
    # Of a key that was typed twice the last value held.
    typed = read_overrides(path) if os.path.lexists(path) else []
    return list({one.split("=", 1)[0]: one for one in typed}.values())
