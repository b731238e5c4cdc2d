"""Drawn garments: what they promise to everything that is measured on them."""

import hashlib
import io
from collections import Counter

import pytest
from PIL import Image

from consumer.demo.drawing import HEIGHT, TASKS, WIDTH, draw_garment, truth_of


@pytest.mark.parametrize("seed", [0, 7, 10**9 + 1])
def test_the_same_seed_gives_the_same_bytes(seed: int) -> None:
    first, second = draw_garment(seed), draw_garment(seed)
    assert first.jpeg == second.jpeg
    assert first.truth == second.truth
    assert first.image.tobytes() == second.image.tobytes()


def test_different_seeds_give_different_pictures() -> None:
    assert len({hashlib.sha256(draw_garment(seed).jpeg).digest() for seed in range(12)}) == 12


def test_the_truth_is_known_without_drawing() -> None:
    for seed in range(12):
        assert truth_of(seed) == draw_garment(seed).truth


def test_the_file_is_a_jpeg_of_the_picture() -> None:
    for seed in range(10):
        garment = draw_garment(seed)
        with Image.open(io.BytesIO(garment.jpeg)) as opened:
            assert (opened.format, opened.mode, opened.size) == ("JPEG", "RGB", (WIDTH, HEIGHT))
        assert garment.image.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("task", list(TASKS))
def test_every_label_comes_equally_often(task: str) -> None:
    drawings = 6000
    counts = Counter(truth_of(seed)[task] for seed in range(drawings))
    assert set(TASKS[task]) == set(counts)
    even = drawings / len(counts)
    for label, count in counts.items():
        assert abs(count - even) < 0.12 * even, label  # 3.8 standard deviations of the rarest labels


def test_tasks_are_apart_from_each_other() -> None:
    """Or a model could learn one task from the other."""
    drawings = 6000
    pairs = Counter((truth["print"], truth["neckline"]) for truth in map(truth_of, range(drawings)))
    assert len(pairs) == 28
    even = drawings / len(pairs)
    for pair, count in pairs.items():
        assert abs(count - even) < 0.3 * even, pair  # 4.4 standard deviations


def test_the_labels_are_the_contracts_in_its_order() -> None:
    assert list(TASKS.items()) == [
        ("print", ("embroidered", "solid", "graphic", "floral", "striped", "lattice", "pleated")),
        ("sleeves", ("sleeveless", "long_sleeve", "short_sleeve")),
        ("neckline", ("no_neckline", "v_neckline", "crew_neckline", "square_neckline")),
    ]
