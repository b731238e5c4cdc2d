"""Vector drawing in a garment's own coordinates: frames, curves and colours.

A `Frame` places coordinates of a part (x to the right, y down, in design units) on the picture's
pixels; a `Canvas` is a Pillow image seen through one. So prints turn with the sleeve that they are on
and nothing has to be resampled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

Points = NDArray[np.float64]
"""Corner points, shape (n, 2): x, y."""

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """An affine map: point ↦ ``matrix @ point + offset``."""

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    @classmethod
    def of(cls, scale: float, angle: float, offset: ArrayLike = (0.0, 0.0), *, mirrored: bool = False) -> Frame:
        """Scaled, turned clockwise by ``angle`` radians, moved; ``mirrored`` flips x first."""
        cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
        flip = -1.0 if mirrored else 1.0
        return cls(np.array([[cos * flip, -sin], [sin * flip, cos]]), np.asarray(offset, dtype=float))

    def inside(self, outer: Frame) -> Frame:
        """This frame, whose coordinates are ``outer``'s, as one on ``outer``'s ground."""
        return Frame(outer.matrix @ self.matrix, outer.matrix @ self.offset + outer.offset)

    def moved(self, by: ArrayLike) -> Frame:
        """The same frame with its origin moved by ``by`` pixels."""
        return Frame(self.matrix, self.offset + np.asarray(by, dtype=float))

    def __call__(self, points: ArrayLike) -> Points:
        """Where ``points``, shape (n, 2), lie."""
        placed: Points = np.asarray(points, dtype=float) @ self.matrix.T + self.offset
        return placed

    @property
    def scale(self) -> float:
        """Pixels per design unit."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix))))


@dataclass(frozen=True, slots=True)
class Canvas:
    """An image that is drawn on in the coordinates of ``frame``."""

    draw: ImageDraw.ImageDraw
    frame: Frame

    @classmethod
    def on(cls, image: Image.Image, frame: Frame) -> Canvas:
        """A canvas on ``image``."""
        return cls(ImageDraw.Draw(image), frame)

    def polygon(self, points: ArrayLike, fill: Colour | int) -> None:
        """A filled polygon."""
        self.draw.polygon(_flat(self.frame(points)), fill=fill)

    def line(self, points: ArrayLike, fill: Colour | int, width: float) -> None:
        """A line through ``points``, ``width`` design units wide and at least one pixel."""
        pixels = max(1, round(width * self.frame.scale))
        self.draw.line(_flat(self.frame(points)), fill=fill, width=pixels, joint="curve" if pixels > 4 else None)

    def lines(self, segments: Iterable[ArrayLike], fill: Colour | int, width: float) -> None:
        """Several separate lines of one width."""
        for segment in segments:
            self.line(segment, fill, width)

    def band(self, low: float, high: float, across: tuple[float, float], fill: Colour, *, upright: bool) -> None:
        """A straight band from ``low`` to ``high``: upright ones lie in x, the others in y."""
        a, b = across
        corners = np.array([(low, a), (high, a), (high, b), (low, b)])
        self.polygon(corners if upright else corners[:, ::-1], fill)


def curve(start: ArrayLike, control: ArrayLike, end: ArrayLike, steps: int = 12) -> Points:
    """A quadratic Bézier curve, both ends included; shape (steps + 1, 2)."""
    a, b, c = (np.asarray(point, dtype=float) for point in (start, control, end))
    t = np.linspace(0.0, 1.0, steps + 1)[:, None]
    return np.asarray((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c, dtype=np.float64)


def mirror(points: Points) -> Points:
    """The points reflected at x = 0 and in reverse order, so that outlines can be closed with them."""
    reflected: Points = points[::-1] * np.array([-1.0, 1.0])
    return reflected


def ellipse(centre: ArrayLike, along: float, across: float, angle: float = 0.0, steps: int = 14) -> Points:
    """An ellipse's outline with half axes ``along`` (turned by ``angle`` radians) and ``across``."""
    return Frame.of(1.0, angle, centre)(_circle(steps) * (along, across))


@cache
def _circle(steps: int) -> Points:
    t = np.linspace(0.0, 2 * math.pi, steps, endpoint=False)
    return np.stack([np.cos(t), np.sin(t)], axis=1)


def bounds(points: Points) -> tuple[float, float, float, float]:
    """left, top, right, bottom."""
    left, top = points.min(axis=0)
    right, bottom = points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """``share`` of ``b``, the rest of ``a``."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def darker(colour: Colour, share: float) -> Colour:
    """Towards black."""
    return mix(colour, (12, 10, 16), share)


def lighter(colour: Colour, share: float) -> Colour:
    """Towards white."""
    return mix(colour, (255, 253, 248), share)


def distance(a: Colour, b: Colour) -> float:
    """How different two colours look: the "redmean" weighting of RGB, 0 to about 765."""
    red = (a[0] + b[0]) / 2
    r, g, u = (x - y for x, y in zip(a, b, strict=True))
    return math.sqrt((2 + red / 256) * r * r + 4 * g * g + (2 + (255 - red) / 256) * u * u)


def _flat(points: Points) -> list[float]:
    flat: list[float] = points.ravel().tolist()
    return flat
