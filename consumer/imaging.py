"""Bytes that a stranger sent → pixels for the model. `consumer.decoding` runs this in processes of their own.

`_SIGNATURES` tells the kind from the first bytes, and only that kind's decoder is asked: the six that
every browser shows. TIFF stays out although Pillow reads it: no browser but Safari shows one, so the web
holds next to none, and libtiff has the longest record of memory errors. The size is checked before a
pixel is decoded, because 11 kB of PNG can hold 88 megapixels.

Colour profiles are not applied, neither here nor in the libraries that models are trained with.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import (  # noqa: F401 - importing a plugin registers it; done here, not by the first threads that decode
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageFile,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from consumer.errors import ImageCorrupt, ImageError, ImageTooLarge, ImageUnsupported, NotAnImage
from consumer.events import ImageInfo
from consumer.jpeg import check_scans

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Pillow warns above a limit and raises above twice that. The limit is set to our cap, see `_open`; a
# decoder that allocates while it reads the header (GIF's disposal does) is then stopped there by either.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
# What it finds odd in an image is no news for the log: a stranger would decide how much is written.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

DECODED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
"""Kinds that are decoded, by Pillow's names."""

_SIGNATURES: tuple[tuple[str, bytes], ...] = (
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("GIF", rb"GIF8[79]a"),
    ("WEBP", rb"RIFF....WEBP"),
    ("BMP", rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"),  # then the size of a header that exists
    ("AVIF", rb"....ftyp(....){0,16}?avi[fs]"),  # as the major brand or among the compatible ones
    # Known, and not decoded:
    ("HEIC", rb"....ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)"),
    ("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
    ("JPEG 2000", rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    ("TIFF", rb"II[*+]\0|MM\0[*+]"),
    ("SVG", rb"(\xef\xbb\xbf)?\s*<(svg[\s>]|(\?xml|!--|!DOCTYPE svg)(?!.*<html).*<svg[\s>])"),
    ("PDF", rb"%PDF-"),
    ("EPS", rb"%!PS|\xc5\xd0\xd3\xc6"),
    ("PSD", rb"8BPS\0[\1\2]"),
    ("ICO", rb"\0\0[\1\2]\0[^\0]\0"),
    ("ICNS", rb"icns"),
    ("XCF", rb"gimp xcf"),
    ("DDS", rb"DDS \x7c"),
    ("OpenEXR", rb"\x76\x2f\x31\x01"),
    ("Radiance HDR", rb"#\?RADIANCE|#\?RGBE"),
    ("QOI", rb"qoif"),
    ("MNG", rb"\x8a[MJ]NG\r\n\x1a\n"),
    ("WMF", rb"\xd7\xcd\xc6\x9a"),
    ("DjVu", rb"AT&TFORM"),
    ("PNM", rb"P[1-7]\s[\s#0-9WH]"),
)
_KINDS = tuple((kind, re.compile(pattern, re.DOTALL)) for kind, pattern in _SIGNATURES)
_HEAD_BYTES = 1024
"""Looked at to tell the kind; an SVG begins after its XML declaration and comments."""

_ORIENTATION = 0x0112
_GREY_STEPS = {"L;2": 85, "L;4": 17}
"""Pillow's name of how grey is stored in fewer than eight bits → from one value to the next in eight."""
_UPRIGHT: dict[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what turns the image upright; from 5 on, width and height change places."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """``pixels`` are at the model's size, row by row, three bytes each: red, green, blue; ``shape`` is the image's
    own width and height, as shown."""

    pixels: bytes | memoryview
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """What the model sees, uint8 of shape (height, width, 3), RGB, and what it was."""

    pixels: NDArray[np.uint8]
    info: ImageInfo

    @classmethod
    def of(
        cls, body: bytes, kind: str, decoded: Decoded, size: tuple[int, int], sha256: str | None = None
    ) -> DecodedImage:
        """The image that ``body`` came to, at a model's width and height."""
        # Here and not above: a decoder's process has no use for it, and starts in less than half the time without.
        import numpy as np  # noqa: PLC0415 - decoders start without it: tests/decoding/test_process.py

        sha256 = sha256 or hashlib.sha256(body).hexdigest()
        info = ImageInfo(sha256, kind.lower(), *decoded.shape, len(body))
        width, height = size
        return cls(np.frombuffer(decoded.pixels, np.uint8).reshape(height, width, 3), info)


Admit = Callable[[str, int, int], None]
"""Told an image's kind, its pixels and how many of them will be decoded, before they are; it may raise."""


def _admit_all(kind: str, full_pixels: int, decoded_pixels: int) -> None:
    """The default."""


def decode_image(body: bytes, *, size: tuple[int, int], max_pixels: int) -> DecodedImage:
    """`decode` in this very process: for images that are our own."""
    kind = kind_of(body)
    return DecodedImage.of(body, kind, decode(body, kind, size=size, max_pixels=max_pixels), size)


def decode(body: bytes, kind: str, *, size: tuple[int, int], max_pixels: int, admit: Admit = _admit_all) -> Decoded:
    """Decodes an image's first frame, upright, in RGB on white, resized (bicubic). Thread-safe.

    Args:
        body: the file as it came.
        kind: what `kind_of` it says.
        size: width and height of the model's input.
        max_pixels: largest width times height that is decoded. One per process: Pillow's own limit follows it.
        admit: has the last word before pixels are decoded; what it raises comes out as it is.

    Raises:
        ImageTooLarge: more than ``max_pixels``.
        ImageCorrupt: cut or damaged.
        MemoryError: there is not enough, which is said of this machine or this process, not of the image.
    """
    with _in_our_words(kind, max_pixels):
        image, shape = _open(body, kind, size, max_pixels)
    with image:
        admit(kind, math.prod(shape), math.prod(image.size))
        with _in_our_words(kind, max_pixels):
            return _pixels(image, shape, size)


@contextmanager
def _in_our_words(kind: str, max_pixels: int) -> Iterator[None]:
    """The one boundary around Pillow: decoders raise struct.error, KeyError, … for broken bytes."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageTooLarge(f"the image has more than {max_pixels} pixels (IMAGE_MAX_PIXELS)") from None
    except Exception as error:
        raise ImageCorrupt(f"the {kind} image is cut or damaged") from error


def kind_of(body: bytes) -> str:
    """The kind, one of `DECODED`, by the first bytes alone.

    Raises:
        NotAnImage: they are those of no image.
        ImageUnsupported: they are those of another kind.
    """
    if not body:
        raise NotAnImage("the body is empty")
    head = body[:_HEAD_BYTES]
    kind = next((kind for kind, signature in _KINDS if signature.match(head)), None)
    if kind is None:
        raise NotAnImage("not an image: the first bytes are those of no known kind")
    if kind not in DECODED:
        raise ImageUnsupported(f"{kind} is not decoded; send one of {', '.join(DECODED)}")
    return kind


def _open(body: bytes, kind: str, size: tuple[int, int], max_pixels: int) -> tuple[Image.Image, tuple[int, int]]:
    """The image before a pixel is decoded, and its width and height as stored."""
    Image.MAX_IMAGE_PIXELS = max_pixels
    if kind == "JPEG":
        check_scans(body)
    image = Image.open(BytesIO(body), formats=(kind,))
    width, height = image.size
    if width * height > max_pixels:
        raise ImageTooLarge(f"{width} × {height} is more than {max_pixels} pixels (IMAGE_MAX_PIXELS)")
    if kind == "PNG":
        _scale_transparent(image)
    # JPEG decodes straight to 1/2, 1/4 or 1/8. Twice the size that is wanted leaves the resampling
    # enough: at 2000 px a quarter of the time, and a mean difference of about 0.5 of 255.
    longest = 2 * max(size)
    image.draft(None, (longest, longest))
    return image, (width, height)


def _scale_transparent(image: ImageFile.ImageFile) -> None:
    """Has the one colour of a PNG that stands for nothing in eight bits a channel, as its pixels will be.

    Pillow leaves it in the file's. Of a colour of three times 16 bits the upper halves are compared, which is all
    that Pillow keeps of those.
    """
    nothing = image.info.get("transparency")
    as_stored = image.tile[0].args if image.tile else None
    if isinstance(nothing, int) and as_stored in _GREY_STEPS:
        image.info["transparency"] = _GREY_STEPS[as_stored] * nothing
    elif isinstance(nothing, tuple) and as_stored == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in nothing)


def _pixels(image: Image.Image, shape: tuple[int, int], size: tuple[int, int]) -> Decoded:
    """The image at ``size``, upright."""
    image.load()
    orientation = _orientation(image)
    rgb = _rgb(image)
    if orientation not in _UPRIGHT:
        return Decoded(rgb.resize(size, Image.Resampling.BICUBIC).tobytes(), shape)
    # Turned after the resize, when it is small.
    lies = orientation >= 5
    resized = rgb.resize(size[::-1] if lies else size, Image.Resampling.BICUBIC)
    return Decoded(resized.transpose(_UPRIGHT[orientation]).tobytes(), shape[::-1] if lies else shape)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation; 1, upright, where the metadata is broken: the pixels are not."""
    try:
        told = image.getexif().get(_ORIENTATION)
    except (SyntaxError, ValueError, TypeError, LookupError, OSError, struct.error):
        return 1
    return told if isinstance(told, int) else 1  # it may be of any of EXIF's types, infinity included


def _rgb(image: Image.Image) -> Image.Image:
    """The image in RGB: transparent parts white, 16 bits scaled to 8 (Pillow's conversion would clip them)."""
    if image.mode == "I;16":
        image = _in_8_bits(image)
    elif image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _in_8_bits(image: Image.Image) -> Image.Image:
    """A grey image of 16 bits (a PNG's) by its upper 8; white where it has the one value that stands for nothing."""
    data = image.tobytes()
    upper = Image.frombytes("L", image.size, data[1::2])
    if (nothing := image.info.get("transparency")) is not None:
        lower = Image.frombytes("L", image.size, data[::2])
        mask = ImageChops.darker(_where(upper, nothing >> 8), _where(lower, nothing & 255))
        upper.paste(255, mask=mask)
    return upper


def _where(image: Image.Image, value: int) -> Image.Image:
    """A mask: 255 where the image has this value."""
    return image.point([255 * (one == value) for one in range(256)])
