"""What becomes of memory that was freed: large blocks go back to the system at once.

glibc by default learns from the first large block that is freed: blocks of that size, up to 32 MiB, come from its
arenas from then on, of which there are eight for each core, and each keeps twice as much free at its end. On two cores
360 images of 8 MB left a service at 439 MiB that had 159 before, for ever; with the bounds set here at 173. Images
of 3 MB: 258 and 178. `malloc_trim` gave back 30 MiB: it leaves the ends of arenas alone.
"""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Of malloc.h."""

LARGE_BYTES: Final = 4 * 2**20
"""A block from this size on is the system's again once it is freed. It costs page faults: an image of 8 MB took 33 ms
of CPU instead of 24, without its decoding. Images of 3 MB are no such blocks, and took the same. Nor is a batch of 16
for a model that takes 224 × 224, 2.3 MiB."""

END_BYTES: Final = 2**20
"""An arena keeps no more than this free at its end."""


def goes_back() -> None:
    """From now on, in this process; where the C library is not glibc nothing changes."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return
    mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
    mallopt(_M_TRIM_THRESHOLD, END_BYTES)
