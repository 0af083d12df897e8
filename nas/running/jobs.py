"""What happens to a job's configuration between Hydra, which composes it, and the command, which runs it."""

from collections.abc import Sequence

from omegaconf import DictConfig

from nas.running import from_run
from nas.running.config_checks import check_composed
from nas.running.parts import separate
from nas.running.typed_choices import check_swept


def prepare(name: str, config: DictConfig, overrides: Sequence[str]) -> None:
    """Puts the parts of what Hydra composed for a job in order, in place, and checks what was typed.

    Raises:
        ConfigError: a setting cannot be used.
    """
    check_swept(name, overrides)
    from_run.check(config)
    separate(name, config, overrides)
    check_composed(name, config, overrides)
