"""The batch shapes, and how any number of images is cut into them."""

from __future__ import annotations

import pytest

from consumer.model.shapes import batch_shapes, cut


@pytest.mark.parametrize(("most", "shapes"), [(1, [1]), (2, [1, 2]), (12, [1, 2, 4, 8, 12]), (16, [1, 2, 4, 8, 16])])
def test_shapes_are_powers_of_two_and_the_largest_itself(most: int, shapes: list[int]) -> None:
    assert batch_shapes(most) == shapes


def test_thirteen_images_are_cut_into_eight_and_four_and_one() -> None:
    assert cut(13, batch_shapes(16)) == [(0, 8), (8, 4), (12, 1)]


@pytest.mark.parametrize("most", [1, 3, 12, 16])
def test_every_image_is_in_one_batch_in_order_and_without_padding(most: int) -> None:
    shapes = batch_shapes(most)
    for count in range(1, 70):
        parts = cut(count, shapes)
        assert [number for start, size in parts for number in range(start, start + size)] == list(range(count))
        assert {size for _, size in parts} <= set(shapes)
