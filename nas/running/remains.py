"""Drawing and summing up what there is of a run, whether it has ended or broken down."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from nas.files import write_failure

log = logging.getLogger(__name__)


@contextmanager
def remains(done: bool) -> Iterator[None]:
    """Inside the block a run is drawn and summed up; of one that broke down nothing else may break.

    Args:
        done: whether the run has ended well.
    """
    try:
        yield
    except Exception as error:
        if done:
            raise
        # What broke the run is the news; where that was a full disk, it is told anyway.
        if write_failure(error.__context__) is None:
            log.warning("warning: the stopped run could not be summed up: %s", error)
