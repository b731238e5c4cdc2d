"""The shipped model, through the service's own decoding and model: it is right about drawings that it never saw."""

from collections import Counter
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

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


def test_an_image_that_lies_on_its_side_is_seen_upright(model: Model) -> None:
    """All eight orientations of EXIF, drawn as a camera stores them, predict like the first."""
    stored = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    stored |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
    with Image.open(BytesIO(draw_garment(FIRST_SEED).jpeg)) as drawn:
        upright = drawn.convert("RGB")
    pixels = []
    for orientation in range(1, 9):
        image = upright.transpose(Image.Transpose[stored[orientation]]) if orientation > 1 else upright
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = BytesIO()
        image.save(file, "PNG", exif=exif)
        pixels.append(decode_image(file.getvalue(), size=model.config.input_size, max_pixels=WIDTH * HEIGHT).pixels)
    first, *others = model.predict(np.stack(pixels))
    for other in others:
        for task, probabilities in first.items():
            assert other[task] == pytest.approx(probabilities, abs=0.01)


def test_its_tasks_and_labels_are_the_drawings(model: Model) -> None:
    assert list(model.config.tasks.items()) == list(TASKS.items())


def test_it_is_small() -> None:
    assert (SHIPPED / "model.keras").stat().st_size <= 5 * 2**20
