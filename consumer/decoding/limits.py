"""What one image may take of memory and processor time while it is decoded; set inside the process.

The kernel keeps these limits, so that code which no Python runs in obeys them too. Measured with the
largest image of each kind (50 megapixels): decoding takes up to 23 bytes a pixel (WebP with alpha, whose
decoder holds two canvases beside the frame; PNG 12, AVIF 15; a progressive JPEG 8, whatever it is scaled
down to).

Time goes by pixels and by bytes. On one core of a server, images of one colour take up to 15 ns a pixel (WebP, PNG),
and the rest goes by what they hold: up to 120 ns a byte (AVIF), 20 for a progressive JPEG.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

BYTES_PER_PIXEL = 24
JPEG_BYTES_PER_PIXEL = 8
SPARE_BYTES = 64 * 2**20
"""On top: metadata, copies of the file, what the allocator keeps."""

LARGE_BYTES = 192 * 2**20
"""An image that takes more, 8 megapixels or a JPEG of 25, is decoded while no other such one is."""

CPU_S = 1.0
"""Until an image's size is known, and on top of what that allows."""

CPU_S_PER_PIXEL = 0.06e-6
CPU_S_PER_BYTE = 0.25e-6
"""Together three times and a half what the slowest honest image takes (AVIF of nine megapixels in 1.7 MB), for
processors that are slower. 50 megapixels in a few kilobytes have 4 s; in 20 MiB, 9 s."""

_STATM = Path("/proc/self/statm")


def needed_bytes(kind: str, full_pixels: int, decoded_pixels: int) -> int:
    """What decoding an image takes at most; ``decoded_pixels`` are fewer where a JPEG is scaled down."""
    if kind == "JPEG":
        return max(JPEG_BYTES_PER_PIXEL * full_pixels, BYTES_PER_PIXEL * decoded_pixels)
    return BYTES_PER_PIXEL * decoded_pixels


def once() -> None:
    """What holds as long as the process: no core files, and first to go when the machine has no memory left."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    except OSError:  # not Linux, or not allowed
        return


class Memory:
    """The process's address space, which whoever allocates anything meets. Limited only where /proc tells its size."""

    def __init__(self) -> None:
        self._base: int | None = None
        # Kept open: a process that is confined opens nothing any more.
        self._statm = os.open(_STATM, os.O_RDONLY) if _STATM.exists() else None

    def begin(self, file_bytes: int, image_bytes: int) -> None:
        """From now on ``image_bytes`` on top of what is held now, and room for copies of the file."""
        if self._statm is not None:
            self._base = int(os.pread(self._statm, 100, 0).split()[0]) * resource.getpagesize() + 2 * file_bytes
        self.allow(image_bytes)

    def allow(self, image_bytes: int) -> None:
        """As `begin`, for the same image, now that more is known of it."""
        if self._base is not None:
            _set_soft(resource.RLIMIT_AS, self._base + SPARE_BYTES + image_bytes)

    def end(self) -> None:
        """No limit until the next image."""
        if self._base is not None:
            _set_soft(resource.RLIMIT_AS, sys.maxsize)


def begin_cpu() -> None:
    """From now on the process may run for `CPU_S`; then SIGPROF ends it, whatever it is doing."""
    signal.setitimer(signal.ITIMER_PROF, CPU_S)


def allow_cpu(pixels: int, file_bytes: int) -> None:
    """And as long again as an image of so many pixels and bytes takes."""
    left_s, _ = signal.getitimer(signal.ITIMER_PROF)
    signal.setitimer(signal.ITIMER_PROF, left_s + CPU_S_PER_PIXEL * pixels + CPU_S_PER_BYTE * file_bytes)


def end_cpu() -> None:
    """No limit until the next image: what one image left must not be too little to receive the next."""
    signal.setitimer(signal.ITIMER_PROF, 0)


def _set_soft(which: int, value: int) -> None:
    """The hard limit is whoever started the service's, and stays."""
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
