"""The one exception that stands for a mistake of the user's, as opposed to a run that failed."""

from collections.abc import Collection, Iterator

from nas.printable import printable, shortened


class ConfigError(ValueError):
    """A setting, file or folder that cannot be used as given.

    The message alone must be enough to mend it: what was wrong, which value, what is allowed, which config
    key. Commands print it without a traceback and exit with status 2. Messages quote files and their names,
    so whatever a terminal would act on is written as an escape, and the middle of a long one is left out.
    """

    def __init__(self, message: object = ""):
        told = str(message)
        if told.startswith("Caught "):
            # What a worker process raised, torch raises anew with the whole traceback for a message.
            named = f"\n{type(self).__module__}.{type(self).__qualname__}: "
            told = told.rpartition(named)[2].strip()
        super().__init__(printable(shortened(told), keep="\n"))


def require(condition: bool, message: str) -> None:
    """Raises `ConfigError(message)` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def require_one_of(key: str, value: object, known: Collection[object]) -> None:
    """Raises `ConfigError` unless the value of a key is one of the known ones."""
    words = ["null" if one is None else str(one) for one in known]
    require(value in known, f"{key}={value}: unknown; known are {', '.join(words)}")


def require_whole(key: str, value: object, least: int) -> None:
    """Raises `ConfigError` unless the value of a key is a whole number, and no truth value, of some size."""
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
    require(fits, f"{key}={value}: must be a whole number of at least {least}")


def installation(extra: str) -> str:
    """The command that installs the packages of one of this project's extras."""
    return f"pip install 'nas-framework[{extra}]', or in a checkout pip install -e '.[{extra}]'"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it, each once: an error that is raised from its own cause makes a circle."""
    seen: list[BaseException] = []
    while error is not None and not any(error is one for one in seen):
        yield error
        seen.append(error)
        error = error.__cause__ or error.__context__
