"""Memory that a process frees: what it keeps of it for its next tile, and how that is given back."""

import ctypes
import sys
from collections.abc import Callable
from functools import cache

KEEP_PAGES = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""Environment in which glibc gives a network's patches the pages that it has, and asks for new ones in large pieces.

By itself it returns what a patch frees, and the system clears it again for the next: up to a third of the time.
``trim`` gives back what has been kept.
"""


@cache
def _trimmer() -> Callable[[int], int] | None:
    """The ``malloc_trim`` of glibc; None where the C library is another."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def trim() -> None:
    """Give freed memory back to the system.

    A hack: glibc keeps freed chunks below 32 MiB for later, some 200 MiB after a tile of TernausNet11, which no larger
    tensor can use. An allocator of torch's own for the CPU would remove it. It costs about a millisecond.
    """
    trimmer = _trimmer()
    if trimmer is not None:
        trimmer(0)
