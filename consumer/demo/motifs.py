"""Large motifs for graphic prints, drawn in the square from (-1, -1) to (1, 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from consumer.demo.canvas import Canvas, Colour, Points, ellipse


class Inks(NamedTuple):
    """What a motif is printed with; ``cloth`` leaves it out."""

    first: Colour
    second: Colour
    cloth: Colour


Motif = Callable[[Canvas, Inks], None]


def _star_points(points: int, inner: float, size: float = 1.0) -> Points:
    angles = np.arange(2 * points) * math.pi / points - math.pi / 2
    radii = np.where(np.arange(2 * points) % 2 == 0, size, size * inner)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _heart_points(size: float) -> Points:
    t = np.linspace(0, 2 * math.pi, 40)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y], axis=1) * size / 17


def _disc(canvas: Canvas, x: float, y: float, radius: float, colour: Colour) -> None:
    canvas.polygon(ellipse((x, y), radius, radius, steps=36), colour)


def _star(canvas: Canvas, inks: Inks) -> None:
    canvas.polygon(_star_points(5, 0.45), inks.first)
    canvas.polygon(_star_points(5, 0.45, 0.52), inks.second)


def _heart(canvas: Canvas, inks: Inks) -> None:
    canvas.polygon(_heart_points(1.0), inks.first)
    canvas.polygon(_heart_points(0.55), inks.second)


def _smile(canvas: Canvas, inks: Inks) -> None:
    _disc(canvas, 0, 0, 1.0, inks.first)
    for side in (-0.35, 0.35):
        canvas.polygon(ellipse((side, -0.25), 0.12, 0.2), inks.cloth)
    t = np.linspace(0.35, math.pi - 0.35, 14)
    canvas.line(np.stack([0.62 * np.cos(t), 0.08 + 0.55 * np.sin(t)], axis=1), inks.cloth, 0.13)


def _sunset(canvas: Canvas, inks: Inks) -> None:
    _disc(canvas, 0, 0, 1.0, inks.first)
    for number, y in enumerate((0.12, 0.36, 0.6, 0.82)):
        half = 0.05 + 0.018 * number
        canvas.polygon([(-1, y - half), (1, y - half), (1, y + half), (-1, y + half)], inks.cloth)


def _mountain(canvas: Canvas, inks: Inks) -> None:
    _disc(canvas, 0.42, -0.5, 0.34, inks.second)
    canvas.polygon([(-1, 0.8), (-0.3, -0.55), (0.35, 0.8)], inks.first)
    canvas.polygon([(-0.1, 0.8), (0.5, -0.1), (1, 0.8)], inks.first)
    canvas.polygon([(-0.3, -0.55), (-0.52, -0.12), (-0.34, -0.2), (-0.22, -0.06), (-0.08, -0.1)], inks.cloth)


def _bolt(canvas: Canvas, inks: Inks) -> None:
    _disc(canvas, 0, 0, 1.0, inks.second)
    canvas.polygon([(0.25, -0.95), (-0.5, 0.12), (-0.06, 0.12), (-0.25, 0.95), (0.5, -0.2), (0.06, -0.2)], inks.first)


def _planet(canvas: Canvas, inks: Inks) -> None:
    _disc(canvas, 0, 0, 0.68, inks.first)
    ring = ellipse((0, 0), 1.08, 0.3, -0.35, 40)
    canvas.line(np.concatenate([ring, ring[:1]]), inks.second, 0.15)
    half = ellipse((0, 0), 0.68, 0.68, -0.35, 40)[20:]
    canvas.polygon(half, inks.first)


def _sail(canvas: Canvas, inks: Inks) -> None:
    canvas.polygon([(-0.06, -1), (-0.06, 0.35), (-0.85, 0.35)], inks.first)
    canvas.polygon([(0.06, -0.75), (0.06, 0.35), (0.7, 0.35)], inks.second)
    canvas.polygon([(-0.95, 0.5), (0.95, 0.5), (0.62, 0.92), (-0.62, 0.92)], inks.first)


def _target(canvas: Canvas, inks: Inks) -> None:
    for radius, colour in ((1.0, inks.first), (0.74, inks.cloth), (0.48, inks.second)):
        _disc(canvas, 0, 0, radius, colour)


def _badge(canvas: Canvas, inks: Inks) -> None:
    canvas.polygon([(-1, -0.85), (1, -0.85), (1, 0.85), (-1, 0.85)], inks.first)
    canvas.polygon([(-0.86, -0.71), (0.86, -0.71), (0.86, 0.71), (-0.86, 0.71)], inks.cloth)
    canvas.polygon(_star_points(4, 0.35, 0.6), inks.second)


MOTIFS: tuple[Motif, ...] = (_star, _heart, _smile, _sunset, _mountain, _bolt, _planet, _sail, _target, _badge)
