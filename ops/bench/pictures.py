"""Seeded JPEGs that a model can tell apart: tint, brightness and the size of the pattern follow from the number.

A picture costs what a shop's photograph costs to fetch and decode: 385 × 500 pixels come to some 50 kB. What
is on it decides the most probable label of each task (`truth`), so that two precisions of one model have clear
margins to agree on.
"""

from __future__ import annotations

import colorsys
import io

import numpy as np
from PIL import Image

from consumer.model.heads import Pixels

SIZES = {"385x500": (385, 500), "1000x1000": (1000, 1000)}
"""Name → width and height in pixels: a thumbnail of a shop, and what a camera's picture is scaled to."""

QUALITY = 88
NOISE = 6.0
"""Of 255, on every pixel: chosen so that a picture of 385 × 500 takes about 49 kB."""

TASKS: dict[str, tuple[str, ...]] = {
    "print": ("embroidered", "solid", "graphic", "floral", "striped", "lattice", "pleated"),
    "sleeves": ("sleeveless", "long_sleeve", "short_sleeve"),
    "neckline": ("no_neckline", "v_neckline", "crew_neckline", "square_neckline"),
}


def truth(number: int) -> list[int]:
    """The label of each task, by its place among the task's labels."""
    random = np.random.default_rng([20_261_124, number])
    return [int(random.integers(len(labels))) for labels in TASKS.values()]


def picture(number: int, size: tuple[int, int]) -> Pixels:
    """The pixels of one picture, (height, width, 3)."""
    width, height = size
    hue, light, grain = truth(number)
    random = np.random.default_rng([7, number])
    tint = np.array(colorsys.hsv_to_rgb(hue / len(TASKS["print"]), 0.8, (90 + 60 * light) / 255)) * 255
    cells = 3 * 2**grain
    coarse = random.normal(0, 40, (cells, cells, 3)).astype(np.float32)
    layers = [
        np.asarray(Image.fromarray(coarse[:, :, channel], "F").resize(size, Image.Resampling.BICUBIC))
        for channel in range(3)
    ]
    noise = random.normal(0, NOISE, (height, width, 1))
    pixels: Pixels = np.clip(tint + np.stack(layers, 2) + noise, 0, 255).astype(np.uint8)
    return pixels


def jpeg(number: int, size: tuple[int, int]) -> bytes:
    """The file of one picture."""
    file = io.BytesIO()
    Image.fromarray(picture(number, size)).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
