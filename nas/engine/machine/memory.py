"""Memory that torch frees on a CPU: given back to the system, or kept by the process for the next step."""

import ctypes

# `mallopt` parameters of glibc, <malloc.h>: (number, value).
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
# glibc refuses a larger mapping threshold on 64-bit machines.
LARGEST_MMAP_THRESHOLD = 32 * 2**20


def keep_freed_memory() -> bool:
    """Makes glibc keep what is freed, for the whole process; says whether it could.

    A training step frees what it allocated, and by default glibc hands large blocks back each time, so that
    the next step meets fresh pages, which the system has to clear. Elsewhere than on glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    settings = (
        (TRIM_THRESHOLD, 2**31 - 1),
        (TOP_PAD, 256 * 2**20),
        (MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD),
    )
    return all(mallopt(number, value) == 1 for number, value in settings)
