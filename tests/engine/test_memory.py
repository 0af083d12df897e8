"""Keeping freed memory is asked of glibc alone."""

import platform

from nas.engine.machine.memory import keep_freed_memory


def test_glibc_takes_every_setting():
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
