"""What the service and a decoder's process say to each other, over one socket.

The service sends a `request`, the process answers with a reply. Numbers are in network order. Whatever a
process says is read as what a stranger says: its decoder may have been taken over by an image.
"""

from __future__ import annotations

import struct

from consumer.errors import ImageCorrupt, ImageError, ImageTooLarge, ImageUnsupported, NotAnImage

READY = b"\x06"
"""What a process says first, once it can decode."""

NONCE_BYTES = 16
"""Of a number that nobody can guess, made for one request; only its answer can hold it. So what a process
that was taken over says before it is asked, for whatever image comes next, is no answer to anything."""

REQUEST = struct.Struct(f"!{NONCE_BYTES}s?I")
"""The nonce, whether the image may take the memory of a large one, and how many bytes of it follow."""

REPLY = struct.Struct(f"!{NONCE_BYTES}sBIII")
"""The request's nonce; what became of it; width and height as shown; how many bytes follow: pixels, or the text of
a failure."""

PIXELS, NEEDS_ROOM = 0, 1
"""Pixels follow; or: this is a large image, ask again when no other large one is being decoded."""

FAILURES: dict[int, type[ImageError]] = {2: ImageTooLarge, 3: ImageCorrupt, 4: NotAnImage, 5: ImageUnsupported}

MESSAGE_BYTES = 1000
"""Longest text of a failure."""
