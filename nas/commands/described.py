"""What an evaluation's run folder says of its network: enough to use it where its data are not."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nas.commands.export_images import describe_images
from nas.commands.export_text import describe_text
from nas.domains.choose import choose
from nas.formats.description import Description, TextDescription, from_json
from nas.reading.files import read_text

DESCRIBED = "network.json"
# Bytes; a vocabulary of a million words fits.
LONGEST = 1 << 25


def describe(config: DictConfig, space: Any, source: Any, genotype: Any) -> Description | TextDescription:
    """The network that a configuration of `nas.evaluate` trains, its preprocessing and its classes."""
    found = describe_text if choose(space, source).name == "text" else describe_images
    return found(config, space, source, genotype, {})


def read_described(folder: Path) -> Description | TextDescription | None:
    """What a run folder says of its network; None where an older version wrote it.

    Raises:
        ConfigError: the file is damaged.
    """
    file = folder / DESCRIBED
    return from_json(read_text(file, at_most=LONGEST), str(file)) if file.exists() else None
