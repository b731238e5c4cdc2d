"""Who this member is to its group, read from librdkafka's serialised group metadata.

There is no other way to learn a member's generation from Python, and reading both from one answer spares a second
question: each waits for librdkafka's main thread with the interpreter's lock held.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

METADATA_V2 = b"CGMDv2:"
"""How they begin (rdkafka_cgrp.c, since 1.5); the generation follows as an int32 in the machine's own byte order, then
the group's and the member's name, each ended by a zero."""


class Membership(NamedTuple):
    """A member's ``generation`` (with ``group.protocol=consumer`` its epoch: -1 outside, 0 while it asks to join) and
    its ``name``, empty if it has none."""

    generation: int
    name: str


def membership_in(metadata: object) -> Membership | None:
    """What group metadata say; null where they are written in another way."""
    if not isinstance(metadata, bytes) or not metadata.startswith(METADATA_V2):
        return None
    start = len(METADATA_V2) + 4
    names = metadata[start:].split(b"\0", 2)
    if len(names) != 3:
        return None
    generation = int.from_bytes(metadata[start - 4 : start], sys.byteorder, signed=True)
    return Membership(generation, names[1].decode("utf-8", "replace"))
