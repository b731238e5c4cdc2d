"""Drawn garments: pictures whose truth is known, from a seed.

`draw_garment` chooses a print, sleeves and a neckline, each evenly and apart from the others, cuts a
garment (`consumer.demo.garments`), prints it (`consumer.demo.prints`) and takes its photograph: a
background, a shadow, soft folds, light from one side, the camera's noise, JPEG.

The same seed gives the same bytes with the same versions of NumPy and Pillow.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from consumer.demo.canvas import Canvas, Colour, Frame, Points, bounds, darker, distance, lighter, mix
from consumer.demo.garments import Cut, Part, cut_garment
from consumer.demo.prints import PRINTS, Painter, dyed

TASKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "print": ("embroidered", "solid", "graphic", "floral", "striped", "lattice", "pleated"),
        "sleeves": ("sleeveless", "long_sleeve", "short_sleeve"),
        "neckline": ("no_neckline", "v_neckline", "crew_neckline", "square_neckline"),
    }
)
"""Task → its labels, in the order of the model's outputs."""

WIDTH, HEIGHT = 385, 500
OVERSAMPLED = 2  # drawn at twice the size and averaged down: smooth edges for half the price of antialiasing

_BACKGROUNDS: tuple[Colour, ...] = (
    (246, 246, 244),
    (236, 232, 226),
    (218, 222, 226),
    (226, 214, 200),
    (206, 216, 208),
    (232, 218, 222),
    (196, 204, 218),
    (170, 164, 156),
    (128, 134, 140),
    (96, 92, 92),
)


@dataclass(frozen=True, slots=True)
class Garment:
    """A picture, what is on it, and the JPEG file that it was saved as.

    ``image`` is RGB, 385 × 500, before JPEG took its share; ``truth`` is task → label.
    """

    seed: int
    image: Image.Image
    truth: Mapping[str, str]
    jpeg: bytes


def truth_of(seed: int) -> dict[str, str]:
    """What `draw_garment` draws for ``seed``, without drawing it."""
    return _truth(np.random.default_rng(seed))


def draw_garment(seed: int) -> Garment:
    """Draws the garment of ``seed``, any whole number from 0 on."""
    rng = np.random.default_rng(seed)
    truth = _truth(rng)
    cut = cut_garment(truth, rng)
    cloth = dyed(rng)
    if truth["print"] == "pleated" and sum(cloth) < 240:
        cloth = lighter(cloth, 0.3)  # a pleat's shadow does not show on black
    frame = _place(cut.points, rng)
    picture = _background(cloth, rng)
    shape = _silhouette(cut, frame)
    picture = _shadow(picture, shape, rng)
    picture = picture.resize((WIDTH * OVERSAMPLED, HEIGHT * OVERSAMPLED), Image.Resampling.NEAREST)
    paint = PRINTS[truth["print"]](rng, cloth)
    trim = mix(cloth, dyed(rng), 0.8) if rng.random() < 0.25 else darker(cloth, 0.16)
    _sew(picture, cut, frame, cloth=cloth, trim=trim, paint=paint)
    image = _photograph(picture.reduce(OVERSAMPLED), shape, rng)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(58, 96)))
    return Garment(seed, image, MappingProxyType(truth), file.getvalue())


def _truth(rng: np.random.Generator) -> dict[str, str]:
    return {task: labels[rng.integers(len(labels))] for task, labels in TASKS.items()}


def _place(points: Points, rng: np.random.Generator) -> Frame:
    """Turned a little, as large as fits or up to a fifth smaller, anywhere that leaves a margin; at twice the size."""
    angle = rng.uniform(-0.1, 0.1)
    margin = 14
    left, top, right, bottom = bounds(Frame.of(1.0, angle)(points))
    room = np.array([WIDTH, HEIGHT]) - 2 * margin
    scale = min(1.55, float((room / (right - left, bottom - top)).min())) * rng.uniform(0.82, 1.0)
    slack = room - scale * np.array([right - left, bottom - top])
    corner = margin + slack * rng.uniform(0.15, 0.85, 2)
    return Frame.of(scale * OVERSAMPLED, angle, (corner - scale * np.array([left, top])) * OVERSAMPLED)


def _background(cloth: Colour, rng: np.random.Generator) -> Image.Image:
    """A wall that the cloth stands out from: plain, shaded, with a floor, or of boards."""
    far = [one for one in _BACKGROUNDS if distance(one, cloth) >= 110]
    wall = far[rng.integers(len(far))]
    kind = rng.choice(["plain", "shaded", "floor", "boards"], p=[0.3, 0.35, 0.2, 0.15])
    picture = Image.new("RGB", (WIDTH, HEIGHT), wall)
    canvas = Canvas.on(picture, Frame.of(1.0, 0.0))
    if kind == "shaded":
        ends = np.array([lighter(wall, 0.35), darker(wall, 0.14)], dtype=np.float32)
        corners = ends[[0, 1, 1, 1] if rng.random() < 0.5 else [0, 0, 1, 1]].reshape(2, 2, 3)
        picture = Image.fromarray(corners.astype(np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    elif kind == "floor":
        canvas.band(rng.uniform(350, 450), HEIGHT, (0, WIDTH), darker(wall, rng.uniform(0.06, 0.2)), upright=False)
    elif kind == "boards":
        width = rng.uniform(60, 110)
        for low in np.arange(-rng.uniform(0, width), WIDTH, width):
            canvas.band(low, low + width, (0, HEIGHT), darker(wall, rng.uniform(0, 0.06)), upright=True)
            canvas.band(low, low + 1.5, (0, HEIGHT), darker(wall, 0.2), upright=True)
    return picture


def _silhouette(cut: Cut, frame: Frame) -> Image.Image:
    """The garment's mask at a quarter of the picture's size, for soft shadows and folds; mode L."""
    small = Frame.of(1 / (4 * OVERSAMPLED), 0.0)
    mask = Image.new("L", (WIDTH // 4, HEIGHT // 4))
    for part in cut.parts:
        Canvas.on(mask, part.frame.inside(frame).inside(small)).polygon(part.outline, 255)
    return mask


def _shadow(picture: Image.Image, shape: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The garment's soft shadow on the wall."""
    moved = Image.new("L", shape.size)
    moved.paste(shape, (int(rng.integers(-2, 3)), int(rng.integers(1, 4))))
    soft = moved.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 4)))
    strength = rng.uniform(0.25, 0.5)
    mask = soft.point(lambda value: value * strength).resize(picture.size, Image.Resampling.BILINEAR)
    picture.paste((24, 22, 30), mask=mask)
    return picture


def _sew(picture: Image.Image, cut: Cut, frame: Frame, *, cloth: Colour, trim: Colour, paint: Painter) -> None:
    """Paints the parts, back to front, then the neckline and the hem, on ``picture``."""
    seam = darker(cloth, 0.45) if sum(cloth) > 150 else lighter(cloth, 0.3)
    for part in cut.parts:
        _piece(picture, part, part.frame.inside(frame), cloth, paint)
        canvas = Canvas.on(picture, part.frame.inside(frame))
        canvas.line(np.concatenate([part.outline, part.outline[:1]]), seam, 1.3)
        if part.name == "sleeve":
            cuff = np.array([(0.0, part.bottom - 7), (-part.width, part.bottom - 7)])
            canvas.line(cuff, seam, 0.9)
    canvas = Canvas.on(picture, frame)
    canvas.line(cut.hem - [0, 7], seam, 0.9)
    if len(cut.opening):
        canvas.polygon(cut.opening, darker(cloth, 0.5) if sum(cloth) > 150 else lighter(cloth, 0.22))
        canvas.line(cut.collar, seam, 7.0)
        canvas.line(cut.collar, trim, 5.0)
    else:
        canvas.line(cut.collar, seam, 1.6)
        canvas.line(cut.collar - [0, -6], seam, 0.9)


def _piece(picture: Image.Image, part: Part, frame: Frame, cloth: Colour, paint: Painter) -> None:
    """One part: its cloth, printed in a layer of its own, pasted where its outline is."""
    left, top, right, bottom = (int(value) for value in bounds(frame(part.outline)))
    size = (right - left + 2, bottom - top + 2)
    local = frame.moved((-left, -top))
    layer, mask = Image.new("RGB", size, cloth), Image.new("L", size)
    paint(Canvas.on(layer, local), part)
    Canvas.on(mask, local).polygon(part.outline, 255)
    picture.paste(layer, (left, top), mask)


def _photograph(picture: Image.Image, shape: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Folds in the cloth, light from one side, the camera's noise."""
    cloth = np.asarray(shape, dtype=np.float32) / 255
    rim = 1 - np.asarray(shape.filter(ImageFilter.GaussianBlur(3)), dtype=np.float32) / 255
    folds = rng.standard_normal((14, 9), dtype=np.float32) * np.float32(rng.uniform(0.015, 0.04))
    soft = np.asarray(Image.fromarray(folds).resize(shape.size, Image.Resampling.BICUBIC))
    slope = np.linspace(-1, 1, shape.size[0], dtype=np.float32) * np.float32(rng.uniform(-0.06, 0.06))
    light = (1 + slope + (soft - 0.25 * rim) * cloth) * np.float32(rng.uniform(0.86, 1.0))
    dimmed = Image.fromarray(np.clip(light * 255, 0, 255).astype(np.uint8)).resize(
        picture.size, Image.Resampling.BILINEAR
    )
    noise = rng.standard_normal((HEIGHT, WIDTH), dtype=np.float32)
    noise *= np.float32(rng.uniform(0.5, 6))
    pixels = np.asarray(ImageChops.multiply(picture, Image.merge("RGB", [dimmed] * 3)), dtype=np.int16)
    pixels = pixels + np.rint(noise).astype(np.int16)[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))
