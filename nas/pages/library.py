"""The JavaScript that draws charts in a page, kept in this user's cache: making it takes seconds."""

import contextlib
import hashlib
import os
from functools import cache
from importlib.metadata import version
from pathlib import Path

from nas.errors import ConfigError
from nas.files import write_text
from nas.reading.files import MEBIBYTE, read_text


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, of the versions that vl-convert-python holds."""
    kept = _place()
    try:
        text = read_text(kept, at_most=8 * MEBIBYTE)
        digest, _, script = text.partition("\n")
        if digest == _digest(script):
            return script
    except ConfigError:
        pass  # there is none yet, or it cannot be read
    import vl_convert

    # As an end of a script element it would end the page's.
    script = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its types lack the default
    script = script.replace("</script", "<\\/script").replace("\r\n", "\n")
    # Where it cannot be kept, the next page makes it again.
    with contextlib.suppress(ConfigError, OSError):
        write_text(kept, f"{_digest(script)}\n{script}", parents=True)
    return script


def _digest(script: str) -> str:
    return hashlib.sha256(script.encode()).hexdigest()


def _place() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "nas-framework" / f"vega-{version('vl-convert-python')}.js"
