"""Search spaces: what can be found.

What somebody else's part derives from is `Operation` or `Space`.
"""

from nas.spaces.operations import Operation
from nas.spaces.space import Space

__all__ = ["Operation", "Space"]
