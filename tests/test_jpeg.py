"""Scans of JPEGs are counted as libjpeg meets them: none is missed, and none of what it skips counts."""

from __future__ import annotations

import time
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from consumer.errors import ImageCorrupt
from consumer.imaging import decode_image
from consumer.jpeg import MAX_FILL_BYTES, MAX_SCANS, MAX_SEGMENTS, check_scans

SCAN = b"\xff\xda\0\2"
START, END = b"\xff\xd8", b"\xff\xd9"


def jpeg(mode: str = "RGB", **options: Any) -> bytes:
    file = BytesIO()
    Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 50).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def with_scans(count: int) -> bytes:
    """A progressive JPEG with so many of them: its last comes again and again."""
    body = jpeg(progressive=True)
    last = body.rindex(b"\xff\xda")
    return body[:-2] + body[last:-2] * (count - body.count(b"\xff\xda")) + END


def decode(body: bytes) -> None:
    decode_image(body, size=(8, 8), max_pixels=1_000_000)


def behind_the_start(body: bytes, *segments: bytes) -> bytes:
    return body[:2] + b"".join(segments) + body[2:]


def segment(content: bytes, marker: int = 0xE1) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_what_encoders_write_is_decoded(mode: str, progressive: bool) -> None:
    body = jpeg(mode, progressive=progressive, quality=95)
    assert body.count(b"\xff\xda") <= 18
    decode(body)


def test_a_scan_more_than_the_most_is_corrupt() -> None:
    decode(with_scans(MAX_SCANS))
    with pytest.raises(ImageCorrupt, match="more than 100 scans"):
        decode(with_scans(MAX_SCANS + 1))


@pytest.mark.parametrize(
    "between",
    [
        b"\xff\xff\xff",  # bytes that fill
        b"\xff\0\xff\xd0 pixels",
        segment(b"\xff\xd9", 0xFE),  # an end inside of a comment is none
        segment(b"", 0xDC),
        b"\xff\x01",  # a marker without a length: what looks like one is none
    ],
)
def test_scans_are_found_wherever_libjpeg_finds_them(between: bytes) -> None:
    with pytest.raises(ImageCorrupt, match="scans"):
        check_scans(START + (SCAN + between) * (MAX_SCANS + 1) + END)


def test_scans_inside_of_metadata_and_behind_the_end_do_not_count() -> None:
    """Thumbnails are JPEGs, and phones put a second picture or a film behind the first."""
    many = SCAN * (MAX_SCANS + 1)
    decode(behind_the_start(jpeg(), segment(b"Exif\0\0" + many)) + many)


@pytest.mark.parametrize(
    "body",
    [
        START + b"\xff" * 2**24 + jpeg()[2:],
        START + segment(b"") + bytes(MAX_FILL_BYTES + 1) + jpeg()[2:],
        START + b"\xff" * 2**24,
        START + segment(b"", 0xFE) * 2**22 + jpeg()[2:],
        START + SCAN + segment(b"", 0xFE) * 2**22 + END,
    ],
    ids=["fill", "zeros", "fill alone", "comments", "comments between scans"],
)
def test_floods_of_what_pillow_takes_one_by_one_are_corrupt_at_once(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises(ImageCorrupt, match=r"than any encoder writes|cut or damaged"):
        decode(body)
    assert time.process_time() - began < 1.0  # Pillow alone takes seconds


def test_more_segments_than_any_encoder_writes_are_still_an_image_up_to_the_cap() -> None:
    decode(behind_the_start(jpeg(), *[segment(b"x", 0xFE)] * (MAX_SEGMENTS - 50)))


@pytest.mark.parametrize("body", [START, START + END, START + segment(b"") + END, START + b"\xff\xe1\xff"])
def test_a_jpeg_without_a_scan_is_corrupt(body: bytes) -> None:
    with pytest.raises(ImageCorrupt, match="cut or damaged"):
        check_scans(body)


def test_bytes_that_stand_for_pixels_take_no_time() -> None:
    began = time.process_time()
    check_scans(START + SCAN + b"\xff\0" * 5_000_000 + b"\xff\xd0" * 5_000_000 + END)
    assert time.process_time() - began < 1.0
