"""Images that strangers send: one line each, drawn here and nowhere copied, with what each comes to.

A case is bytes, a name and an outcome: `PREDICTED` or a code. Sizes are small unless size is the point.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile.measuring import PREDICTED

CORRUPT, UNSUPPORTED, NO_IMAGE, TOO_LARGE = "image_corrupt", "image_unsupported", "not_an_image", "image_too_large"


@dataclass(frozen=True, slots=True)
class ImageCase:
    """``draw`` makes the file; `body` keeps it."""

    name: str
    draw: Callable[[], bytes]
    outcome: str

    @property
    def body(self) -> bytes:
        """The file."""
        return _drawn(self.draw)


@cache
def _drawn(draw: Callable[[], bytes]) -> bytes:
    return draw()


# ── what files are made of ───────────────────────────────────────────────────────────────────────


@cache
def garment(mode: str = "RGB", width: int = 60, height: int = 80) -> Image.Image:
    """Noise, smooth as photographs are, so that every kind has something to say about it."""
    rough = np.random.default_rng(7).integers(0, 256, (height // 10, width // 10, 4), np.uint8)
    return Image.fromarray(rough, "RGBA").resize((width, height)).convert(mode)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def saved(kind: str, mode: str = "RGB", **options: Any) -> Callable[[], bytes]:
    return lambda: file_of(garment(mode), kind, **options)


def cut(draw: Callable[[], bytes], part: float) -> Callable[[], bytes]:
    return lambda: draw()[: int(len(draw()) * part)]


def replaced(draw: Callable[[], bytes], old: bytes, new: bytes) -> Callable[[], bytes]:
    """The file with the first ``old`` in it replaced."""

    def make() -> bytes:
        body = draw()
        assert old in body
        return body.replace(old, new, 1)

    return make


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes | None, *more: bytes, method: int = 0) -> bytes:
    """A PNG by hand; ``rows`` null has no pixels at all."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, method, 0, 0))
    pixels = b"" if rows is None else chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + pixels + chunk(b"IEND", b"")


def gif(width: int, height: int, *blocks: bytes) -> bytes:
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return b"GIF89a" + screen + b"".join(blocks) + b";"


def frame(x: int, y: int, width: int, height: int, data: bytes = b"\x02\x02\x44\x01\x00") -> bytes:
    """A frame of a GIF; the data is one black pixel."""
    return b"," + struct.pack("<HHHHB", x, y, width, height, 0) + data


def bmp(width: int, height: int, bits: int, *, compression: int = 0, offset: int = 54, pixels: bytes = b"") -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, offset) + info + pixels


def webp_canvas(width: int, height: int) -> bytes:
    """Only a canvas, of a size that the header says in two times 24 bits."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size
    frame = b"ANIM" + struct.pack("<I", 6) + bytes(6)
    return b"RIFF" + struct.pack("<I", 4 + len(extended) + len(frame)) + b"WEBP" + extended + frame


def jpeg_segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def with_segments(*segments: bytes) -> Callable[[], bytes]:
    """A good JPEG with segments of our own behind its first marker."""

    def make() -> bytes:
        body = file_of(garment(), "JPEG")
        return body[:2] + b"".join(segments) + body[2:]

    return make


def jpeg_of_size(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    body = bytearray(file_of(garment(), "JPEG"))
    at = body.index(b"\xff\xc0") + 5
    body[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(body)


def scans(count: int, side: int = 1000) -> bytes:
    """A progressive JPEG whose last scan comes again and again: each goes over every block."""
    body = file_of(Image.new("L", (side, side)), "JPEG", progressive=True)
    last = body.rindex(b"\xff\xda")
    return body[:last] + body[last:-2] * count + body[-2:]


def exif(orientation: int, *, value_type: int = 3) -> bytes:
    return b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12" + struct.pack(">HIHH", value_type, 1, orientation, 0) + bytes(4)


def animated(kind: str) -> bytes:
    others = [Image.new("RGB", (60, 80), colour) for colour in ("red", "blue")]
    return file_of(garment(), kind, save_all=True, append_images=others, duration=100)


def two_in_one() -> bytes:
    return file_of(garment(), "MPO", save_all=True, append_images=[garment()])


def grey_16() -> bytes:
    return file_of(Image.fromarray(np.arange(6000, dtype=np.uint16).reshape(60, 100) * 10))


def ycck() -> bytes:
    """CMYK as Adobe's programs write it: the APP14 segment says YCCK, and values are inverted."""
    body = file_of(garment("CMYK"), "JPEG")
    at = body.index(b"Adobe") + 11
    return body[:at] + b"\x02" + body[at + 1 :]  # its colours are others now, which tests of pixels are about


def icc(body: bytes) -> bytes:
    return file_of(garment(), "JPEG", icc_profile=body)


def noise(length: int, seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(length)


_rows_16_rgb = b"".join(b"\0" + bytes(range(48)) for _ in range(8))
_good = saved("PNG")
_jpeg = saved("JPEG")
_webp = saved("WEBP", lossless=True)
_avif = saved("AVIF", speed=10)
_gif = saved("GIF", "P")
_bmp = saved("BMP")
_bomb = partial(png, 60_000, 60_000, 1, 0, None)

CASES: tuple[ImageCase, ...] = (
    # what becomes pixels
    ImageCase("JPEG", _jpeg, PREDICTED),
    ImageCase("progressive JPEG", saved("JPEG", progressive=True), PREDICTED),
    ImageCase("grey JPEG", saved("JPEG", "L"), PREDICTED),
    ImageCase("CMYK JPEG", saved("JPEG", "CMYK"), PREDICTED),
    ImageCase("YCCK JPEG", ycck, PREDICTED),
    ImageCase("JPEG of two pictures (MPO)", two_in_one, PREDICTED),
    ImageCase("JPEG that lies on its side", with_segments(jpeg_segment(0xE1, exif(6))), PREDICTED),
    ImageCase("JPEG with an orientation of 77", with_segments(jpeg_segment(0xE1, exif(77))), PREDICTED),
    ImageCase("JPEG with an orientation of another type", with_segments(jpeg_segment(0xE1, exif(6, value_type=99))), PREDICTED),
    ImageCase("JPEG with an infinite orientation", with_segments(jpeg_segment(0xE1, exif(0x7F80, value_type=11))), PREDICTED),
    ImageCase("JPEG with noise for EXIF", with_segments(jpeg_segment(0xE1, b"Exif\0\0" + noise(500, 1))), PREDICTED),
    ImageCase("JPEG with noise for a colour profile", partial(icc, noise(5000, 2)), PREDICTED),
    ImageCase("JPEG with 60 kB of comment", with_segments(jpeg_segment(0xFE, bytes(60_000))), PREDICTED),
    ImageCase("JPEG with a thousand comments", with_segments(*[jpeg_segment(0xFE, b"x" * 99)] * 1000), PREDICTED),
    ImageCase("JPEG with 100 scans", partial(scans, 90, 200), PREDICTED),
    ImageCase("JPEG with a broken MPO index", with_segments(jpeg_segment(0xE2, b"MPF\0" + noise(80, 3))), PREDICTED),
    ImageCase("JPEG with a web page behind it", lambda: _jpeg() + b"<html>" * 1000, PREDICTED),
    ImageCase("PNG", _good, PREDICTED),
    ImageCase("PNG of one pixel", partial(png, 1, 1, 8, 0, b"\0\x80"), PREDICTED),
    ImageCase("PNG of 30000 × 1", partial(png, 30_000, 1, 8, 0, bytes(30_001)), PREDICTED),
    ImageCase("PNG of 1 × 30000", partial(png, 1, 30_000, 8, 0, bytes(60_000)), PREDICTED),
    ImageCase("PNG of 49 megapixels in 6 kB", lambda: png(7000, 7000, 1, 0, bytes(7000 * 876)), PREDICTED),
    ImageCase("PNG of 49 megapixels with a transparent grey", lambda: png(7000, 7000, 8, 0, bytes(7000 * 7001), chunk(b"tRNS", b"\0\0")), PREDICTED),
    ImageCase("PNG of 1 bit", saved("PNG", "1"), PREDICTED),
    ImageCase("PNG in grey", saved("PNG", "L"), PREDICTED),
    ImageCase("PNG in grey with alpha", saved("PNG", "LA"), PREDICTED),
    ImageCase("PNG with a palette", saved("PNG", "P"), PREDICTED),
    ImageCase("PNG with a transparent palette", saved("PNG", "P", transparency=bytes(range(256))), PREDICTED),
    ImageCase("PNG with alpha", saved("PNG", "RGBA"), PREDICTED),
    ImageCase("PNG in grey of 16 bits", grey_16, PREDICTED),
    ImageCase("PNG in RGB of 16 bits", partial(png, 8, 8, 16, 2, _rows_16_rgb), PREDICTED),
    ImageCase("PNG, animated", partial(animated, "PNG"), PREDICTED),
    ImageCase("PNG with a thousand texts", partial(png, 1, 1, 8, 0, b"\0\x80", *[chunk(b"tEXt", b"a\0b")] * 1000), PREDICTED),
    ImageCase("PNG with 30000 chunks", partial(png, 1, 1, 8, 0, b"\0\x80", chunk(b"abCd", b"") * 30_000), PREDICTED),
    ImageCase("PNG with chunks that nobody knows", partial(png, 1, 1, 8, 0, b"\0\x80", chunk(b"abCd", bytes(9999))), PREDICTED),
    ImageCase("GIF", _gif, PREDICTED),
    ImageCase("GIF, animated", partial(animated, "GIF"), PREDICTED),
    ImageCase("GIF with 100000 comments", partial(gif, 1, 1, b"\x21\xfe\1a\0" * 100_000, frame(0, 0, 1, 1)), PREDICTED),
    ImageCase("GIF with a comment in 250000 pieces", partial(gif, 1, 1, b"\x21\xfe" + b"\1a" * 250_000 + b"\0", frame(0, 0, 1, 1)), PREDICTED),
    ImageCase("GIF with a transparent colour", saved("GIF", "P", transparency=0), PREDICTED),
    ImageCase("GIF of one pixel", partial(gif, 1, 1, frame(0, 0, 1, 1)), PREDICTED),
    ImageCase("WebP", _webp, PREDICTED),
    ImageCase("WebP with loss and alpha", saved("WEBP", "RGBA"), PREDICTED),
    ImageCase("WebP, animated", partial(animated, "WEBP"), PREDICTED),
    ImageCase("AVIF", _avif, PREDICTED),
    ImageCase("AVIF with alpha", saved("AVIF", "RGBA", speed=10), PREDICTED),
    ImageCase("AVIF, animated", partial(animated, "AVIF"), PREDICTED),
    ImageCase("BMP", _bmp, PREDICTED),
    ImageCase("BMP, upside down", partial(bmp, 1, -1, 24, pixels=b"\1\2\3\0"), PREDICTED),
    # what decoders forgive, as browsers do: missing rows are grey or black
    ImageCase("JPEG taller than its data", partial(jpeg_of_size, 60, 6000), PREDICTED),
    ImageCase("PNG with too few rows", partial(png, 9, 9, 8, 0, bytes(20)), PREDICTED),
    ImageCase("PNG of a compression that does not exist", partial(png, 9, 9, 8, 0, bytes(99), method=7), PREDICTED),
    # cut or damaged
    *(
        ImageCase(f"{kind}, cut at {part:.0%}", cut(draw, part), CORRUPT)
        for kind, draw in (("JPEG", _jpeg), ("PNG", _good), ("GIF", _gif), ("WebP", _webp), ("AVIF", _avif), ("BMP", _bmp))
        for part in (0.1, 0.6)
    ),
    ImageCase("JPEG of three bytes", lambda: b"\xff\xd8\xff", CORRUPT),
    ImageCase("JPEG of nothing but its first and last marker", lambda: b"\xff\xd8\xff\xd9", CORRUPT),
    ImageCase("JPEG of no width", partial(jpeg_of_size, 0, 80), CORRUPT),
    ImageCase("JPEG without tables", replaced(_jpeg, b"\xff\xdb", b"\xff\xfe"), CORRUPT),
    ImageCase("JPEG with 16000 scans", partial(scans, 16_000), CORRUPT),
    ImageCase("JPEG of 4 megapixels with 1000 scans", partial(scans, 1000, 2000), CORRUPT),
    ImageCase("JPEG with 100000 bytes that fill", with_segments(b"\xff" * 100_000), CORRUPT),
    ImageCase("JPEG with 100000 comments", with_segments(jpeg_segment(0xFE, b"") * 100_000), CORRUPT),
    ImageCase("PNG of no size", partial(png, 0, 0, 8, 0, b""), CORRUPT),
    ImageCase("PNG without pixels", partial(png, 9, 9, 8, 0, None), CORRUPT),
    ImageCase("PNG with a wrong checksum", replaced(_good, b"IDAT", b"IDAT\0"), CORRUPT),
    ImageCase("PNG of a depth that does not exist", partial(png, 9, 9, 3, 0, bytes(99)), CORRUPT),
    ImageCase("PNG whose first chunk claims 4 GB", lambda: b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR", CORRUPT),
    ImageCase("PNG with a profile that is a bomb", partial(png, 1, 1, 8, 0, b"\0\x80", chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10**8)))), CORRUPT),
    ImageCase("PNG with a text that is a bomb", partial(png, 1, 1, 8, 0, b"\0\x80", chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**8)))), CORRUPT),
    ImageCase("GIF without a frame", partial(gif, 9, 9), CORRUPT),
    ImageCase("GIF with a code that cannot be", partial(gif, 9, 9, frame(0, 0, 9, 9, b"\x0c\x04\xff\xff\xff\xff\0")), CORRUPT),
    ImageCase("WebP whose length is a lie", lambda: _webp()[:4] + b"\xff\xff\xff\x7f" + _webp()[8:], CORRUPT),
    ImageCase("WebP of a canvas without frames", partial(webp_canvas, 9, 9), CORRUPT),
    ImageCase("AVIF of a head without a body", lambda: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", CORRUPT),
    ImageCase("AVIF that does not say where its pixels are", replaced(_avif, b"iloc", b"ilox"), CORRUPT),
    ImageCase("BMP whose pixels begin behind its end", partial(bmp, 9, 9, 24, offset=10**9), CORRUPT),
    ImageCase("BMP of 3 bits", partial(bmp, 9, 9, 3), CORRUPT),
    ImageCase("BMP with runs that end nowhere", partial(bmp, 9, 9, 8, compression=1, pixels=b"\xff\0" * 9), CORRUPT),
    # too large
    ImageCase("PNG of 3.6 gigapixels in 60 bytes", _bomb, TOO_LARGE),
    ImageCase("PNG of 88 megapixels in 11 kB", lambda: png(9400, 9400, 1, 0, bytes(9400 * 1176)), TOO_LARGE),
    ImageCase("PNG of one row more than the cap", partial(png, 10_000, 5001, 8, 0, None), TOO_LARGE),
    ImageCase("PNG of 2 billion columns", partial(png, 2**31 - 1, 1, 8, 0, None), TOO_LARGE),
    ImageCase("JPEG of 65500 × 65500", partial(jpeg_of_size, 65_500, 65_500), TOO_LARGE),
    ImageCase("GIF of 65535 × 65535", partial(gif, 65_535, 65_535, frame(0, 0, 1, 1)), TOO_LARGE),
    ImageCase("GIF whose frame is larger than itself", partial(gif, 1, 1, b"\x21\xf9\x04\x09\0\0\0\0", frame(0, 0, 60_000, 60_000)), TOO_LARGE),
    ImageCase("WebP of 16383 × 16383", partial(webp_canvas, 16_383, 16_383), TOO_LARGE),
    ImageCase("WebP of 281 terapixels", partial(webp_canvas, 2**24, 2**24), TOO_LARGE),
    ImageCase("BMP of 2 billion columns", partial(bmp, 2**31 - 1, 1, 24), TOO_LARGE),
    # other kinds
    ImageCase("TIFF", lambda: file_of(garment(), "TIFF"), UNSUPPORTED),
    ImageCase("JPEG 2000", lambda: b"\0\0\0\x0cjP  \r\n\x87\n", UNSUPPORTED),
    ImageCase("JPEG XL", lambda: b"\xff\x0a" + bytes(20), UNSUPPORTED),
    ImageCase("HEIC", lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", UNSUPPORTED),
    ImageCase("SVG", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", UNSUPPORTED),
    ImageCase("SVG with a billion laughs", lambda: b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY a 'ha'>]><svg>&a;</svg>", UNSUPPORTED),
    ImageCase("EPS that runs a program", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%id) (w) file", UNSUPPORTED),
    ImageCase("PDF", lambda: b"%PDF-1.7\n" + noise(500, 4), UNSUPPORTED),
    ImageCase("PSD", lambda: b"8BPS\0\1" + bytes(20), UNSUPPORTED),
    ImageCase("ICO", lambda: file_of(garment(), "ICO"), UNSUPPORTED),
    ImageCase("PPM", lambda: file_of(garment(), "PPM"), UNSUPPORTED),
    ImageCase("DDS", lambda: b"DDS \x7c\0\0\0" + bytes(120), UNSUPPORTED),
    # no image at all
    ImageCase("nothing", lambda: b"", NO_IMAGE),
    ImageCase("one byte", lambda: b"\xff", NO_IMAGE),
    ImageCase("zeros", lambda: bytes(10_000), NO_IMAGE),
    ImageCase("noise", lambda: noise(10_000, 5), NO_IMAGE),
    ImageCase("a web page", lambda: b"<!DOCTYPE html><html><body>404</body></html>", NO_IMAGE),
    ImageCase("JSON", lambda: b'{"error": "not found"}', NO_IMAGE),
    ImageCase("a ZIP archive", lambda: b"PK\3\4" + noise(500, 6), NO_IMAGE),
    ImageCase("a program", lambda: b"\x7fELF\2\1\1" + noise(500, 7), NO_IMAGE),
    ImageCase("a pickle", lambda: b"\x80\4cos\nsystem\n(S'id'\ntR.", NO_IMAGE),
    ImageCase("a PNG with a line break in its signature", lambda: _good().replace(b"\r\n", b"\n", 1), NO_IMAGE),
    ImageCase("a JPEG behind a space", lambda: b" " + _jpeg(), NO_IMAGE),
    ImageCase("a JPEG in base64", lambda: b"data:image/jpeg;base64,/9j/4AAQSkZJRg==", NO_IMAGE),
)  # fmt: skip
