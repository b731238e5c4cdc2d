"""Probe images: what a backend is held against the reference on when the service starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from consumer.model.heads import Heads, Pixels

PROBES = 8
"""Probe images; also the batch that candidates are timed with."""


@dataclass(frozen=True, slots=True)
class Probes:
    """Images, and what the reference answers for them."""

    images: Pixels
    answers: Heads

    @classmethod
    def asked(cls, reference: Callable[[Pixels], Heads], images: Pixels) -> Probes:
        """Has the reference answer."""
        return cls(images, reference(images))


def probe_images(input_size: tuple[int, int], count: int = PROBES) -> Pixels:
    """Seeded images with structure at every scale: blocks from coarse to fine, plain and with noise."""
    width, height = input_size
    random = np.random.default_rng(20_261_124)
    images = np.empty((count, height, width, 3), np.uint8)
    for number in range(count):
        cells = 2 ** (1 + number % 5)
        blocks = random.integers(0, 256, (cells, cells, 3))
        rows, columns = np.arange(height) * cells // height, np.arange(width) * cells // width
        noise = random.normal(0, 4 * (number % 4), (height, width, 3))
        images[number] = np.clip(blocks[rows][:, columns] + noise, 0, 255).astype(np.uint8)
    return images
