"""Pictures for decoders, and what tests ask of them."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from consumer.decoding.decoder import Decoder
from consumer.errors import EventError

SIZE = (24, 16)
MAX_PIXELS = 20_000_000
MakeDecoder = Callable[..., Decoder]


def picture(width: int = 60, height: int = 40, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def plain(width: int, height: int) -> bytes:
    file = BytesIO()
    Image.new("L", (width, height)).save(file, "PNG")
    return file.getvalue()


def failure(using: Decoder, body: bytes, timeout_s: float = 30.0) -> EventError:
    with pytest.raises(EventError) as caught:
        using.decode(body, timeout_s)
    assert "\n" not in str(caught.value)
    return caught.value
