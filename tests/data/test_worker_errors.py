"""What a loader's worker could not read is told in the one line of the worker, whatever its kind."""

import pytest
from torch._utils import ExceptionWrapper

from nas.errors import ConfigError
from nas.reading.pictures import Unreadable


@pytest.mark.parametrize("kind", [ConfigError, Unreadable])
def test_a_workers_mistake_is_its_own_line(kind):
    words = "dataset.root: pets/1.png: not there\nnor is another"
    try:
        raise kind(words)
    except kind:
        wrapped = ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(kind) as error:
        wrapped.reraise()
    assert type(error.value) is kind and str(error.value) == words
