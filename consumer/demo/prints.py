"""Seven prints: what is drawn on the cloth of each part, in the part's own coordinates.

A print is chosen once for a garment (its colours, its scale, its kind) and then painted on each part:
``PRINTS[label](rng, cloth)`` gives the function that does so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np

from consumer.demo.canvas import Canvas, Colour, Frame, Points, bounds, curve, darker, distance, ellipse, lighter, mix
from consumer.demo.garments import Part
from consumer.demo.motifs import MOTIFS, Inks

Painter = Callable[[Canvas, Part], None]

FABRICS: tuple[Colour, ...] = (
    (244, 240, 230),
    (226, 214, 194),
    (200, 176, 140),
    (150, 108, 72),
    (92, 62, 46),
    (40, 40, 46),
    (92, 98, 108),
    (160, 166, 172),
    (30, 48, 92),
    (44, 92, 160),
    (112, 164, 208),
    (176, 208, 226),
    (24, 98, 100),
    (74, 156, 146),
    (168, 210, 184),
    (40, 84, 52),
    (112, 128, 66),
    (232, 196, 72),
    (222, 142, 48),
    (206, 88, 62),
    (176, 36, 48),
    (112, 26, 46),
    (232, 152, 152),
    (214, 84, 128),
    (138, 76, 148),
    (190, 168, 214),
)
"""Colours that cloth is dyed in."""


def dyed(rng: np.random.Generator, *beside: Colour, apart: float = 0.0) -> Colour:
    """A colour of cloth, never exactly the same, at least ``apart`` (redmean) from each one of ``beside``."""
    far = [one for one in FABRICS if all(distance(one, other) >= apart for other in beside)]
    base = far[rng.integers(len(far))]
    red, green, blue = (int(np.clip(value + rng.integers(-12, 13), 8, 250)) for value in base)
    return red, green, blue


def _solid(rng: np.random.Generator, cloth: Colour) -> Painter:  # noqa: ARG001 - one signature for all prints
    def paint(canvas: Canvas, part: Part) -> None:
        """Nothing: the cloth is its own."""

    return paint


def _striped(rng: np.random.Generator, cloth: Colour) -> Painter:
    """Bands in one direction: level, upright or slanting; even, or a wide and a narrow one."""
    ink = dyed(rng, cloth, apart=190)
    second = dyed(rng, cloth, apart=190) if rng.random() < 0.35 else ink
    period, share = rng.uniform(15, 32), rng.uniform(0.36, 0.58)
    slant = rng.choice([0.0, 0.0, 0.0, math.pi / 2, math.pi / 2, 0.7, -0.7])
    narrow = bool(rng.random() < 0.25)

    def paint(canvas: Canvas, part: Part) -> None:
        tilted, reach = _tilted(canvas, part, slant)
        for number, low in enumerate(np.arange(reach[0], reach[1], period)):
            colour = ink if number % 2 else second
            tilted.band(low, low + period * share, reach, colour, upright=False)
            if narrow:
                middle = low + period * (1 + share) / 2
                tilted.band(middle - 1.2, middle + 1.2, reach, colour, upright=False)

    return paint


def _lattice(rng: np.random.Generator, cloth: Colour) -> Painter:
    """Bands in both directions: gingham, windowpane or tartan, upright or on the diagonal."""
    ink = dyed(rng, cloth, apart=200)
    period = rng.uniform(22, 38)
    slant = rng.choice([0.0, 0.0, math.pi / 4])
    kind = rng.choice(["gingham", "windowpane", "tartan"])
    thin = rng.uniform(0.10, 0.2) * period
    second = dyed(rng, cloth, ink, apart=120)

    def grid(canvas: Canvas, reach: tuple[float, float], at: float, width: float, colour: Colour) -> None:
        for upright in (True, False):
            for low in np.arange(reach[0], reach[1], period) + at:
                canvas.band(low, low + width, reach, colour, upright=upright)

    def paint(canvas: Canvas, part: Part) -> None:
        tilted, reach = _tilted(canvas, part, slant)
        if kind == "windowpane":
            grid(tilted, reach, 0.0, max(thin, 2.6), ink)
            return
        wide = period * (0.5 if kind == "gingham" else 0.4)
        grid(tilted, reach, 0.0, wide, mix(cloth, ink, 0.5))
        for across in np.arange(reach[0], reach[1], period):
            for down in np.arange(reach[0], reach[1], period):
                tilted.band(across, across + wide, (down, down + wide), ink, upright=True)
        if kind == "tartan":
            grid(tilted, reach, period * 0.66, max(thin * 0.7, 2.0), second)

    return paint


def _floral(rng: np.random.Generator, cloth: Colour) -> Painter:
    """Flowers strewn over all of the cloth, with leaves between them."""
    petals = [dyed(rng, cloth, apart=170) for _ in range(rng.integers(1, 4))]
    leaf = (int(rng.integers(40, 110)), int(rng.integers(110, 160)), int(rng.integers(50, 100)))
    if distance(leaf, cloth) < 110:
        leaf = lighter(cloth, 0.5) if sum(cloth) < 380 else darker(cloth, 0.45)
    size, count = rng.uniform(8.5, 15.0), int(rng.integers(5, 8))
    spacing = size * rng.uniform(2.3, 2.9)
    eye = (244, 204, 80) if rng.random() < 0.6 else darker(cloth, 0.6)

    def flower(canvas: Canvas, centre: Points, turn: float) -> None:
        petal = petals[rng.integers(len(petals))]
        radius = size * rng.uniform(0.8, 1.15)
        for side in (1.0, -1.0):
            angle = turn + side * 0.5
            at = centre + radius * 1.25 * np.array([math.cos(angle), math.sin(angle)])
            canvas.polygon(ellipse(at, radius * 0.55, radius * 0.22, angle, 8), leaf)
        for number in range(count):
            angle = turn + 2 * math.pi * number / count
            at = centre + radius * 0.55 * np.array([math.cos(angle), math.sin(angle)])
            shade = petal if number % 2 else darker(petal, 0.12)
            canvas.polygon(ellipse(at, radius * 0.52, radius * (1.9 / count), angle, 10), shade)
        canvas.polygon(ellipse(centre, radius * 0.26, radius * 0.26, 0, 8), eye)

    def paint(canvas: Canvas, part: Part) -> None:
        left, top, right, bottom = bounds(part.outline)
        for row, y in enumerate(np.arange(top, bottom + spacing, spacing * 0.87)):
            for x in np.arange(left - spacing, right + spacing, spacing) + (row % 2) * spacing / 2:
                flower(canvas, np.array([x, y]) + rng.uniform(-0.16, 0.16, 2) * spacing, rng.uniform(0, 2 * math.pi))

    return paint


def _graphic(rng: np.random.Generator, cloth: Colour) -> Painter:
    """One large motif on the chest of otherwise plain cloth."""
    ink = dyed(rng, cloth, apart=220)
    inks = Inks(ink, dyed(rng, cloth, ink, apart=130), cloth)
    motif = MOTIFS[rng.integers(len(MOTIFS))]
    size, turn = rng.uniform(33, 45), rng.uniform(-0.12, 0.12)

    def paint(canvas: Canvas, part: Part) -> None:
        if part.name != "body":
            return
        centre = (0.0, part.free + size + rng.uniform(11, 20))
        motif(Canvas(canvas.draw, Frame.of(size, turn, centre).inside(canvas.frame)), inks)

    return paint


def _embroidered(rng: np.random.Generator, cloth: Colour) -> Painter:
    """Satin-stitched vines on the yoke and stitched borders at hem and cuffs, on plain cloth."""
    thread = dyed(rng, cloth, apart=200)
    second = dyed(rng, cloth, apart=150)
    border = rng.choice(["zigzag", "crosses", "eyelets"])
    reach, leaves = rng.uniform(0.62, 0.8), int(rng.integers(5, 8))
    step = rng.uniform(10, 14)

    def stitched_leaf(canvas: Canvas, at: Points, along: float, angle: float, colour: Colour) -> None:
        """A leaf filled with parallel threads, every other one in the shade."""
        place = Canvas(canvas.draw, Frame.of(1.0, angle, at).inside(canvas.frame))
        for number, x in enumerate(np.arange(1.0, along, 1.7)):
            half = along * 0.30 * math.sin(math.pi * x / along)
            place.line([(x - half * 0.4, -half), (x + half * 0.4, half)], darker(colour, 0.3 * (number % 2)), 1.1)

    def vine(canvas: Canvas, part: Part, side: float) -> None:
        top = part.free + 14
        end = np.array([side * part.width * reach, top - 4])
        stem = curve((0.0, top + 34), (side * part.width * 0.3, top + 30), end, 16)
        stem = stem + np.stack([np.zeros(17), 5 * np.sin(np.linspace(0, 3 * math.pi, 17))], axis=1)
        canvas.line(stem, thread, 1.8)
        for number, index in enumerate(np.linspace(2, 16, leaves).astype(int)):
            direction = math.atan2(*(stem[index] - stem[index - 1])[::-1])
            for turn in (0.9, -0.9):
                stitched_leaf(canvas, stem[index], 14, direction + turn, second if number % 2 else thread)

    def hem(canvas: Canvas, part: Part, y: float) -> None:
        left, _, right, _ = bounds(part.outline)
        for number, x in enumerate(np.arange(left, right, step)):
            if border == "zigzag":
                canvas.line([(x, y + 5), (x + step / 2, y - 5), (x + step, y + 5)], thread, 2.0)
            elif border == "crosses":
                canvas.lines([[(x, y - 4), (x + 8, y + 4)], [(x, y + 4), (x + 8, y - 4)]], thread, 1.8)
            else:
                for angle in range(0, 360, 60):
                    stitched_leaf(canvas, np.array([x, y]), 5.5, math.radians(angle), thread)
            if number % 2 == 0:
                for dash in (y - 10, y + 10):
                    canvas.line([(x, dash), (x + step * 1.3, dash)], second, 1.6)

    def paint(canvas: Canvas, part: Part) -> None:
        hem(canvas, part, part.bottom - 18)
        if part.name == "body":
            for side in (1.0, -1.0):
                vine(canvas, part, side)
            for angle in range(0, 360, 45):
                stitched_leaf(canvas, np.array([0.0, part.free + 44]), 15, math.radians(angle), thread)

    return paint


def _pleated(rng: np.random.Generator, cloth: Colour) -> Painter:
    """Knife pleats in the cloth's own colour: each rises from shadow to light, then drops."""
    width = rng.uniform(11, 19)
    depth = rng.uniform(0.34, 0.5)
    flare = rng.uniform(0.0, 0.35)
    rising = bool(rng.random() < 0.5)
    shades = [darker(cloth, depth * (1 - t) ** 1.3) for t in np.linspace(0, 1, 5)]
    shades.append(lighter(cloth, depth * 0.55))
    if not rising:
        shades.reverse()

    def paint(canvas: Canvas, part: Part) -> None:
        left, top, right, bottom = bounds(part.outline)
        middle, spread = (left + right) / 2, 1 + flare * (bottom - top) / 250
        strip = width / len(shades)
        for number, low in enumerate(np.arange(left - width, right + width, strip)):
            high = low + strip * 1.1
            ends = [(middle + (x - middle) * k, y) for x, k, y in _corners(low, high, top, bottom, spread)]
            canvas.polygon(ends, shades[number % len(shades)])

    return paint


def _corners(low: float, high: float, top: float, bottom: float, spread: float) -> Iterator[tuple[float, float, float]]:
    yield from ((low, 1 / spread, top), (high, 1 / spread, top), (high, spread, bottom), (low, spread, bottom))


def _tilted(canvas: Canvas, part: Part, slant: float) -> tuple[Canvas, tuple[float, float]]:
    """A canvas that is turned by ``slant``, and the reach that covers the part in both directions."""
    corners = part.outline
    centre = (corners.min(axis=0) + corners.max(axis=0)) / 2
    reach = float(np.linalg.norm(corners - centre, axis=1).max()) + 2
    return Canvas(canvas.draw, Frame.of(1.0, slant, centre).inside(canvas.frame)), (-reach, reach)


PRINTS: Mapping[str, Callable[[np.random.Generator, Colour], Painter]] = MappingProxyType(
    {
        "embroidered": _embroidered,
        "solid": _solid,
        "graphic": _graphic,
        "floral": _floral,
        "striped": _striped,
        "lattice": _lattice,
        "pleated": _pleated,
    }
)
