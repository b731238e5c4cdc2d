"""The batch shapes that the model is asked with: few, so that each one is warm before the first image.

A number of images that is none of them is cut (13 → 8, 4, 1) rather than padded: on a CPU a padded image
costs as much as a real one, while a small call costs little more than its images.
"""

from __future__ import annotations


def batch_shapes(most: int) -> list[int]:
    """The powers of two up to ``most``, and ``most`` itself, smallest first."""
    return sorted({2**power for power in range(most.bit_length())} | {most})


def cut(count: int, shapes: list[int]) -> list[tuple[int, int]]:
    """``count`` images as (start, size) of successive batches, largest shape first; covers each once."""
    parts: list[tuple[int, int]] = []
    start = 0
    for size in reversed(shapes):
        while count - start >= size:
            parts.append((start, size))
            start += size
    return parts
