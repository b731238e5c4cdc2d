"""Damage to bytes and texts, by dice that a seed throws."""

from __future__ import annotations

import struct
import unicodedata
import zlib
from random import Random

TELLING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers at which programs go wrong."""

LETTERS = "aA0.:/@\\%#?[]-_ \t\r\n\0\x1b\x7f\x85\xa0\xadéßİ。．／＠\u2028\u202e\u200b\ud800\U0001f355"
"""Characters that two parsers of URLs, or a terminal, may read differently."""


def _twins() -> dict[str, str]:
    """ASCII characters → others that become them when case is folded or compatibility forms are (NFKC)."""
    found: dict[str, str] = {}
    for code in range(0x80, 0x10000):
        for same in {unicodedata.normalize("NFKC", chr(code)).lower(), chr(code).upper().lower()}:
            if len(same) == 1 and "!" <= same <= "~":
                found[same] = found.get(same, "") + chr(code)
    return found


TWINS = _twins()
"""A long s (U+017F) is an s to whoever compares without case, and was one to a regular expression once."""


def damaged(body: bytes, other: bytes, dice: Random) -> bytes:
    """``body`` with a few mutations; ``other`` is what pieces come from."""
    made = bytearray(body)
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        at = dice.randrange(len(made) + 1)
        length = min(dice.choice((1, 2, 4, 8, 64, 512)), len(made) - at)
        match dice.randrange(8):
            case 0 | 1:
                made[at : at + 1] = bytes((dice.randrange(256),))
            case 2:
                number = dice.choice(TELLING)
                size = dice.choice("BHI")
                mask = 256 ** struct.calcsize(size) - 1
                made[at : at + struct.calcsize(size)] = struct.pack(dice.choice("<>") + size, number & mask)
            case 3:
                del made[at : at + length]
            case 4:
                made[at:at] = made[at : at + length] * dice.choice((1, 2, 50))
            case 5:
                made[at:at] = dice.randbytes(length)
            case 6:
                begin = dice.randrange(len(other) + 1)
                made[at : at + length] = other[begin : begin + length]
            case 7:
                del made[at:]
    return bytes(made)


def mended(png: bytes) -> bytes:
    """A PNG with the checksums that its chunks ought to have: else what is damaged is not even looked at."""
    made, at = bytearray(png), 8
    while at + 12 <= len(made):
        (length,) = struct.unpack(">I", made[at : at + 4])
        end = at + 8 + length
        if end + 4 > len(made):
            break
        made[end : end + 4] = struct.pack(">I", zlib.crc32(made[at + 4 : end]))
        at = end + 4
    return bytes(made)


def respelt(text: str, other: str, dice: Random) -> str:
    """A text with a few mutations."""
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = dice.randrange(len(text) + 1)
        length = dice.choice((0, 1, 1, 3, 10))
        begin = dice.randrange(len(other) + 1)
        piece = dice.choice(
            (
                dice.choice(LETTERS),
                dice.choice(LETTERS) * dice.choice((2, 70, 300)),
                other[begin : begin + length],
                f"%{dice.randrange(256):02x}",
                chr(dice.randrange(0x110000)),
                dice.choice(TWINS.get(text[at : at + 1].lower(), "?")),
            )
        )
        text = text[:at] + piece + text[at + length :]
    return text
