"""How many passes over its pixels a JPEG asks for, counted before any is made.

A progressive JPEG tells its pixels in scans, each of which goes over the whole image, and a scan that changes
nothing takes a dozen bytes: a megapixel in 16 kB with a thousand of them takes a hundred times what it takes with
ten. Nothing in the format bounds that, and libjpeg does not by itself.
"""

from __future__ import annotations

import re

from consumer.errors import ImageCorrupt

MAX_SCANS = 100
"""What libtiff (``LIBTIFF_JPEG_MAX_ALLOWED_SCAN_NUMBER``) and GraphicsMagick (``jpeg:max-scan-number``) take, too.
libjpeg and mozjpeg write 10 for colour and 18 for CMYK; fuzzers of libjpeg-turbo go up to 500."""

MAX_SEGMENTS = 4096
"""Segments before the pixels and between scans. Each may hold 64 kB, so metadata of 20 MB has 320; Pillow reads those
before the pixels one by one, in Python, and keeps them."""

MAX_FILL_BYTES = 2**16
"""Bytes between segments before the first scan, where there need be none. Pillow goes through them one by one."""

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""Neither a byte 0xFF of the pixels (0xFF 0x00), nor one that fills, nor a mark inside of a scan to begin anew from.
Two bytes and no repetition: a long row of 0xFF is gone through once."""

_END, _SCAN = 0xD9, 0xDA
_WITH_LENGTH = frozenset({*range(0xC0, 0xD0), _SCAN, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE})
"""What is followed by its length and skipped by it, as libjpeg does; any other marker is passed over, so that more
scans are seen than libjpeg sees and never fewer."""


def check_scans(body: bytes) -> None:
    """Goes through the markers once, up to the end of the first picture; 20 MB take 0.3 s at the worst.

    Raises:
        ImageCorrupt: more scans, segments or bytes in between than any encoder writes, or no scan at all.
    """
    at, scans, segments, fill = 2, 0, 0, 0
    while found := _MARKER.search(body, at):
        if not scans:
            fill += found.start() - at
        marker, at = body[found.end() - 1], found.end()
        if marker == _END:
            break
        segments += 1
        scans += marker == _SCAN
        if scans > MAX_SCANS:
            raise ImageCorrupt(f"the JPEG image has more than {MAX_SCANS} scans")
        if segments > MAX_SEGMENTS or fill > MAX_FILL_BYTES:
            raise ImageCorrupt("the JPEG image has more between its pixels than any encoder writes")
        if marker in _WITH_LENGTH:
            at += int.from_bytes(body[at : at + 2])
    if not scans:
        raise ImageCorrupt("the JPEG image is cut or damaged")
