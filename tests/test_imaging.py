from __future__ import annotations

import hashlib
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from consumer.errors import EventError, ImageCorrupt, ImageTooLarge, ImageUnsupported, NotAnImage
from consumer.imaging import DECODED, DecodedImage, decode_image

SIZE = (24, 16)
MAX_PIXELS = 1_000_000
WHITE, BLACK, RED, GREEN, BLUE = (255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)


def decode(body: bytes, size: tuple[int, int] = SIZE, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    return decode_image(body, size=size, max_pixels=max_pixels)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def quarters(width: int = 240, height: int = 160) -> Image.Image:
    """Red and green above, blue and white below: shows how an image lies."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def corners(decoded: DecodedImage) -> list[tuple[int, ...]]:
    """Colours in the middle of the four quarters, rounded to full ones."""
    height, width, _ = decoded.pixels.shape
    rounded = (decoded.pixels > 127).astype(int) * 255
    return [tuple(rounded[y, x].tolist()) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]


def middle(decoded: DecodedImage) -> list[int]:
    height, width, _ = decoded.pixels.shape
    values: list[int] = decoded.pixels[height // 2, width // 2].tolist()
    return values


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand, for what Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    more = b"".join(chunk(*one) for one in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# ── what becomes pixels ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", DECODED)
def test_every_decoded_kind_becomes_pixels_of_the_models_size(kind: str) -> None:
    body = encode(quarters(), kind)
    decoded = decode(body)
    assert decoded.pixels.shape == (16, 24, 3)
    assert decoded.pixels.dtype == np.uint8
    assert corners(decoded) == [RED, GREEN, BLUE, WHITE]
    info = decoded.info
    assert (info.format, info.width, info.height, info.bytes) == (kind.lower(), 240, 160, len(body))
    assert info.sha256 == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_the_resize_is_pillows_bicubic(kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (50, 60, 3), np.uint8)
    image = Image.fromarray(noise)
    expected = np.asarray(image.resize(SIZE, Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(decode(encode(image, kind)).pixels, expected)


def test_a_large_jpeg_is_decoded_at_a_fraction_without_being_seen() -> None:
    waves = 127 + 127 * np.sin(np.indices((500, 500)).sum(0) / 10)
    image = Image.fromarray(np.stack([waves, 255 - waves, waves], -1).astype(np.uint8))
    body = encode(image, "JPEG", quality=95)
    with Image.open(BytesIO(body)) as whole:
        expected = np.asarray(whole.resize((64, 64), Image.Resampling.BICUBIC), int)
    decoded = decode(body, (64, 64))
    assert abs(decoded.pixels.astype(int) - expected).mean() < 1
    assert (decoded.info.width, decoded.info.height) == (500, 500)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_image_is_upright(kind: str, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = quarters()
    stored = image.transpose(undo[orientation]) if orientation > 1 else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(encode(stored, kind, exif=exif))
    assert corners(decoded) == [RED, GREEN, BLUE, WHITE]
    assert (decoded.info.width, decoded.info.height) == (240, 160)
    assert decoded.pixels.shape == (16, 24, 3)


as_in_the_service = pytest.mark.filterwarnings("ignore::UserWarning")
"""`consumer.imaging` silences what Pillow finds odd in an image; pytest turns it into an error."""


@as_in_the_service
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x0b\0\0\0\x01\x7f\x80\0\0\0\0\0\0",  # an orientation of infinity
        b"Exif\0\0noise",
        b"Exif\0\0",
    ],
)
def test_broken_metadata_spoils_no_image(exif: bytes) -> None:
    assert corners(decode(encode(quarters(), "JPEG", exif=exif))) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize(("colour", "expected"), [("black", 0), ("white", 255)])
def test_every_mode_keeps_its_colours(mode: str, colour: str, expected: int) -> None:
    image = Image.new("RGB", (40, 40), colour).convert(mode)
    assert middle(decode(encode(image))) == [expected] * 3


def test_a_cmyk_jpeg_keeps_its_colours() -> None:
    assert corners(decode(encode(quarters().convert("CMYK"), "JPEG"))) == [RED, GREEN, BLUE, WHITE]


def ycck(image: Image.Image) -> bytes:
    """A JPEG as Adobe's programs write it: YCCK, inverted. Pillow writes inverted CMYK; the rest is done here.

    Its decoder gives CMY = 255 - RGB(YCC), and those are taken as inverted: so the colour YCC is of CMY itself.
    """
    *cmy, black = image.convert("CMYK").split()
    ycc = Image.merge("RGB", cmy).convert("YCbCr").point(lambda value: 255 - value)  # Pillow will invert it again
    body = bytearray(encode(Image.merge("CMYK", (*ycc.split(), black)), "JPEG", subsampling=0))
    body[body.index(b"Adobe") + 11] = 2  # the transform: YCCK
    return bytes(body)


def test_a_ycck_jpeg_keeps_its_colours() -> None:
    body = ycck(quarters())
    with Image.open(BytesIO(body)) as image:
        assert image.mode == "CMYK"
        assert image.info["adobe_transform"] == 2
    assert corners(decode(body)) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (0x80FF, 128), (0xFFFF, 255)])
def test_sixteen_bits_with_alpha_are_scaled_and_transparent_ones_white(value: int, expected: int) -> None:
    solid = b"\0" + struct.pack(">HHHH", value, value, value, 0xFFFF) * 8
    hidden = b"\0" + struct.pack(">HHHH", value, value, value, 0) * 8
    assert middle(decode(png(8, 8, 16, 6, solid * 8))) == [expected] * 3
    assert middle(decode(png(8, 8, 16, 6, hidden * 8))) == list(WHITE)
    solid, hidden = (b"\0" + struct.pack(">HH", value, alpha) * 8 for alpha in (0xFFFF, 0))
    assert middle(decode(png(8, 8, 16, 4, solid * 8))) == [expected] * 3
    assert middle(decode(png(8, 8, 16, 4, hidden * 8))) == list(WHITE)


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_what_is_transparent_in_grey_and_in_a_palette_is_white(mode: str) -> None:
    image = quarters().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert middle(decode(encode(image.convert(mode)))) == list(WHITE)


@pytest.mark.parametrize("levels", [2, 4, 16])
def test_grey_of_few_bits_is_scaled_to_eight(levels: int) -> None:
    bits = levels.bit_length() - 1
    row = b"\0" + bytes([0xFF]) * 8
    assert middle(decode(png(8, 8, bits, 0, row[: 1 + bits] * 8))) == [255] * 3


def test_a_transparent_colour_of_sixteen_bits_is_compared_in_all_of_them() -> None:
    """0x1235 is not 0x1234, though both are 0x12 in eight bits."""
    row = b"\0" + struct.pack(">H", 0x1235) * 8
    assert middle(decode(png(8, 8, 16, 0, row * 8, (b"tRNS", b"\x12\x34")))) == [0x12] * 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF"])
def test_what_is_transparent_is_white_whatever_is_hidden_under_it(kind: str) -> None:
    image = quarters().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert middle(decode(encode(image, kind))) == list(WHITE)


def test_half_transparent_is_half_white() -> None:
    assert middle(decode(encode(Image.new("RGBA", (40, 40), (0, 0, 0, 128))))) == [127] * 3


@pytest.mark.parametrize(
    ("kind", "mode", "black"),
    [("PNG", "L", 0), ("PNG", "RGB", BLACK), ("PNG", "P", 0), ("PNG", "1", 0), ("GIF", "L", 0), ("GIF", "P", 0)],
)
def test_one_colour_that_stands_for_nothing_is_white(kind: str, mode: str, black: Any) -> None:
    image = Image.new(mode, (40, 40), black)
    assert middle(decode(encode(image, kind, transparency=black))) == list(WHITE)


@pytest.mark.parametrize(
    ("depth", "colour", "row", "same", "other"),
    [
        (2, 0, b"\x55\x55", b"\0\1", b"\0\2"),
        (4, 0, b"\x55" * 4, b"\0\5", b"\0\6"),
        (16, 2, b"\xff\x12\0\0\0\0" * 8, b"\xff\x12\0\0\0\0", b"\0\0\xff\x12\0\0"),
    ],
    ids=["grey of 2 bits", "grey of 4 bits", "colours of 16 bits"],
)
def test_the_one_colour_is_found_in_any_depth(depth: int, colour: int, row: bytes, same: bytes, other: bytes) -> None:
    rows = (b"\0" + row) * 8
    assert middle(decode(png(8, 8, depth, colour, rows, (b"tRNS", same)))) == list(WHITE)
    assert middle(decode(png(8, 8, depth, colour, rows, (b"tRNS", other)))) == middle(
        decode(png(8, 8, depth, colour, rows))
    )


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (0x00FF, 0), (0x8000, 128), (0xFFFF, 255)])
@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3)], ids=["grey", "rgb"])
def test_sixteen_bits_are_scaled_not_clipped(value: int, expected: int, colour: int, channels: int) -> None:
    row = b"\0" + struct.pack(">H", value) * (8 * channels)
    assert middle(decode(png(8, 8, 16, colour, row * 8))) == [expected] * 3


def test_a_transparent_grey_of_sixteen_bits_is_white() -> None:
    row = b"\0" + struct.pack(">H", 0x1234) * 8
    assert middle(decode(png(8, 8, 16, 0, row * 8, (b"tRNS", b"\x12\x34")))) == list(WHITE)
    for other in (b"\x12\x35", b"\x13\x34"):
        assert middle(decode(png(8, 8, 16, 0, row * 8, (b"tRNS", other)))) == [0x12] * 3


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_the_first_frame_of_an_animation_counts(kind: str) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in (RED, BLUE)]
    body = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert corners(decode(body)) == [RED] * 4


def test_a_jpeg_with_a_second_picture_inside_is_a_jpeg() -> None:
    body = encode(quarters(), "MPO", save_all=True, append_images=[Image.new("RGB", (40, 40))])
    decoded = decode(body)
    assert corners(decoded) == [RED, GREEN, BLUE, WHITE]
    assert decoded.info.format == "jpeg"


def test_many_threads_decode_at_once() -> None:
    bodies = [encode(quarters(), kind) for kind in DECODED] * 10
    with ThreadPoolExecutor(8) as pool:
        for decoded in pool.map(decode, bodies):
            assert corners(decoded) == [RED, GREEN, BLUE, WHITE]


# ── what does not ────────────────────────────────────────────────────────────────────────────────

NOT_IMAGES = {
    "empty": b"",
    "text": b"no such image",
    "a page": b"<!DOCTYPE html><html><body><svg></svg></body></html>",
    "a page in XHTML": b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><svg></svg></html>',
    "XML": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "JSON": b'{"error": "not found"}',
    "text that begins like a bitmap": b"BM is short for bitmap, and this is no bitmap",
    "a sound": b"RIFF\x24\0\0\0WAVEfmt ",
    "a video": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    "zeros": bytes(1000),
}
UNSUPPORTED = {
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "SVG after a declaration": b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- drawn -->\n<svg width='1'/>",
    "PSD": b"8BPS\0\1" + bytes(20),
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "JPEG XL": b"\xff\x0a" + bytes(20),
    "JPEG XL in a box": b"\0\0\0\x0cJXL \r\n\x87\n",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "TIFF": b"II*\0" + bytes(20),
    "PDF": b"%PDF-1.7",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0",
    "ICO": b"\0\0\1\0\1\0",
    "PNM": b"P6 1 1 255 abc",
    "QOI": b"qoif" + bytes(20),
}


@pytest.mark.parametrize("case", NOT_IMAGES)
def test_what_is_no_image_is_told_apart(case: str) -> None:
    with pytest.raises(NotAnImage):
        decode(NOT_IMAGES[case])


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_a_known_kind_that_is_not_decoded_is_named(case: str) -> None:
    with pytest.raises(ImageUnsupported, match=case.split(maxsplit=1)[0]):
        decode(UNSUPPORTED[case])


@pytest.mark.parametrize("kind", DECODED)
@pytest.mark.parametrize("part", [0.05, 0.5, 0.9])
def test_a_cut_image_is_corrupt(kind: str, part: float) -> None:
    noise = Image.fromarray(np.random.default_rng(2).integers(0, 256, (50, 60, 3), np.uint8))
    body = encode(noise, kind)
    with pytest.raises(ImageCorrupt, match=kind) as caught:
        decode(body[: int(len(body) * part)])
    assert "\n" not in str(caught.value)


@as_in_the_service
@pytest.mark.parametrize("kind", DECODED)
def test_noise_in_an_image_is_pixels_or_one_of_our_errors(kind: str) -> None:
    whole = encode(quarters(64, 48), kind)
    draw = np.random.default_rng(3)
    for _ in range(100):
        body = bytearray(whole)
        for place in draw.integers(12, len(body), 4):
            body[place] = draw.integers(256)
        try:
            assert decode(bytes(body)).pixels.shape == (16, 24, 3)
        except EventError as error:
            assert error.stage == "decode"  # noqa: PT017 - either is right


@pytest.mark.parametrize("kind", DECODED)
def test_one_pixel_more_than_the_cap_is_too_large(kind: str) -> None:
    body = encode(quarters(100, 40), kind)
    assert decode(body, max_pixels=4000).info.width == 100
    with pytest.raises(ImageTooLarge, match="IMAGE_MAX_PIXELS"):
        decode(body, max_pixels=3999)
    with pytest.raises(ImageTooLarge, match="IMAGE_MAX_PIXELS"):
        decode(body, max_pixels=1000)


def test_the_cap_holds_where_pillows_warning_is_not_an_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageTooLarge, match="100 × 40"):
            decode(encode(quarters(100, 40)), max_pixels=3999)


def test_a_bomb_is_found_out_before_it_is_decoded() -> None:
    with pytest.raises(ImageTooLarge):
        decode(png(60_000, 60_000, 8, 0, b""))  # there is nothing to decode in it


def test_a_frame_larger_than_its_gif_is_too_large_before_anything_is_allocated() -> None:
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
    dispose = b"\x21\xf9\x04\x09\0\0\0\0"
    frame = b"," + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0) + b"\x02\x00;"
    with pytest.raises(ImageTooLarge):
        decode(screen + dispose + frame)


def test_pillow_does_not_warn_of_large_images_below_our_cap() -> None:
    side = 9500  # 90 megapixels: above Pillow's own limit
    body = encode(Image.new("L", (side, side)), "JPEG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(body, max_pixels=100_000_000).info.width == side
