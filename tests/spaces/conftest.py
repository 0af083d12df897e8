"""What the tests of spaces have in common."""

import pytest

from nas.spaces.native.library import load_library


@pytest.fixture(scope="session")
def library():
    """The compiled kernel."""
    found = load_library()
    if found is None:
        pytest.skip("the compiled kernel cannot be built here")
    return found
