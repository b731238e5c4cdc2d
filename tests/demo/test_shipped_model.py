"""The shipped model, through the service's own decoding and model: it is right about drawings that it never saw."""

from collections import Counter

import numpy as np
import pytest

from consumer.demo.drawing import HEIGHT, TASKS, WIDTH, draw_garment
from consumer.demo.images import MAX_SEED
from consumer.demo.training import MEASURED, MEASURED_FROM, SHIPPED
from consumer.imaging import decode_image
from consumer.model import Model, load_model
from consumer.settings import Settings

DRAWINGS = 300
FIRST_SEED = 20_000  # neither the training's seeds nor those that the training's own measurement takes


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(Settings(model_backend="tensorflow", model_precision="float32"))


def test_measurement_and_demo_draw_other_seeds_than_the_training() -> None:
    assert FIRST_SEED + DRAWINGS < MEASURED_FROM
    assert MEASURED_FROM + MEASURED <= MAX_SEED


def test_each_task_is_right_on_held_out_drawings(model: Model) -> None:
    size, right = model.config.input_size, Counter[str]()
    garments = [draw_garment(seed) for seed in range(FIRST_SEED, FIRST_SEED + DRAWINGS)]
    pixels = [decode_image(garment.jpeg, size=size, max_pixels=WIDTH * HEIGHT).pixels for garment in garments]
    for start in range(0, DRAWINGS, 50):
        answers = model.predict(np.stack(pixels[start : start + 50]))
        for garment, answer in zip(garments[start : start + 50], answers, strict=True):
            for task, probabilities in answer.items():
                right[task] += max(probabilities, key=lambda label: probabilities[label]) == garment.truth[task]
    assert {task: right[task] / DRAWINGS for task in TASKS if right[task] / DRAWINGS < 0.95} == {}


def test_its_tasks_and_labels_are_the_drawings(model: Model) -> None:
    assert list(model.config.tasks.items()) == list(TASKS.items())


def test_it_is_small() -> None:
    assert (SHIPPED / "model.keras").stat().st_size <= 5 * 2**20
