"""The cut of a garment: its parts' outlines, from sleeves, neckline and chance.

Design units: the neck's centre is the origin, y points down; a top is about 250 units long, a dress 370.

========================  =====================================================================
neckline
========================  =====================================================================
``no_neckline``           strapless: a straight top edge below the shoulders, sleeves off the
                          shoulder
``v_neckline``            two straight edges that meet in a point
``crew_neckline``         a shallow round opening
``square_neckline``       upright sides and a level bottom
========================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from consumer.demo.canvas import Frame, Points, curve, mirror


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of cloth in coordinates of its own, y along the way that the cloth hangs.

    ``frame`` places it in the garment's coordinates. ``free`` is where a motif has room: the lowest
    point of the neckline; ``bottom`` is the hem or cuff; ``width`` the half width at the chest.
    """

    name: str
    outline: Points
    frame: Frame
    free: float
    bottom: float
    width: float


@dataclass(frozen=True, slots=True)
class Cut:
    """A garment's parts, back to front, with the lines that a tailor sees.

    ``opening`` is the neckline's opening, through which the inside of the back shows, and ``collar`` its
    front edge (both without points for ``no_neckline``, whose ``collar`` is the straight top edge);
    ``hem`` is the body's lower edge.
    """

    parts: tuple[Part, ...]
    opening: Points
    collar: Points
    hem: Points

    @property
    def body(self) -> Part:
        """The piece without the sleeves."""
        return next(part for part in self.parts if part.name == "body")

    @property
    def points(self) -> Points:
        """Every outline point in the garment's coordinates."""
        return np.concatenate([part.frame(part.outline) for part in self.parts])


def cut_garment(truth: Mapping[str, str], rng: np.random.Generator) -> Cut:
    """A garment with the sleeves and neckline of ``truth``; the rest of the shape is chance's."""
    sleeves, neckline = truth["sleeves"], truth["neckline"]
    bare = sleeves == "sleeveless"
    strapless = neckline == "no_neckline"
    shoulder = rng.uniform(62, 76)
    drop = rng.uniform(10, 20)
    armpit = np.array([shoulder + rng.uniform(-1, 5), rng.uniform(84, 98)])
    neck = rng.uniform(32, 41) if neckline == "square_neckline" else rng.uniform(25, 34)
    tip = np.array([shoulder, drop])
    if bare:
        tip = np.array([neck + rng.uniform(13, 24), drop * 0.6])
    if strapless:
        tip = np.array([armpit[0] - rng.uniform(0, 3), rng.uniform(40, 58)])

    collar = _collar(neckline, neck, tip, rng)
    back = curve((-neck, 0), (0, rng.uniform(8, 16)), (neck, 0))
    side, bottom = _side(armpit, rng)
    armhole = curve(tip, (min(tip[0], armpit[0]) - (9 if bare else 4), armpit[1] - 8), armpit)
    right = np.concatenate([tip[None] if strapless else armhole, side])
    hem = curve(side[-1], (0, bottom + rng.uniform(0, 12)), mirror(side[-1:])[0])
    top = collar if strapless else back
    outline = np.concatenate([top, right, hem, mirror(right)])
    free = float(collar[:, 1].max())
    body = Part("body", outline, Frame.of(1.0, 0.0), free, bottom, float(armpit[0]))

    parts: tuple[Part, ...] = (body,)
    if not bare:
        parts = (*_sleeves(sleeves, tip, armpit, rng), body)
    opening = np.zeros((0, 2)) if strapless else np.concatenate([back, mirror(collar) * [-1, 1]])
    return Cut(parts, opening, collar, hem)


def _collar(neckline: str, neck: float, tip: Points, rng: np.random.Generator) -> Points:
    """The front edge of the opening, from left to right."""
    if neckline == "no_neckline":
        return curve((-tip[0], tip[1]), (0, tip[1] + rng.uniform(-3, 5)), tip)
    if neckline == "v_neckline":
        depth = rng.uniform(66, 104)
        half = curve((-neck, 0), (-neck * rng.uniform(0.42, 0.58), depth * 0.48), (0, depth), 6)
        return np.concatenate([half, mirror(half)[1:]])
    if neckline == "square_neckline":
        depth, inward = rng.uniform(44, 62), rng.uniform(0, 3)
        return np.array([(-neck, 0), (-neck + inward, depth), (neck - inward, depth), (neck, 0)])
    depth = rng.uniform(24, 36)
    half = curve((-neck, 0), (-neck * 0.94, depth), (0, depth))
    return np.concatenate([half, mirror(half)[1:]])


def _side(armpit: Points, rng: np.random.Generator) -> tuple[Points, float]:
    """The right side seam from the armpit down, and the height of its end: a top's or a dress's."""
    waist = np.array([armpit[0] * rng.uniform(0.80, 0.96), rng.uniform(165, 185)])
    if rng.random() < 0.5:
        bottom = rng.uniform(235, 270)
        hem = np.array([waist[0] * rng.uniform(1.02, 1.18), bottom])
    else:
        bottom = rng.uniform(340, 390)
        hem = np.array([waist[0] * rng.uniform(1.25, 1.95), bottom])
    upper = curve(armpit, (waist[0], armpit[1] + 30), waist)
    lower = curve(waist, (waist[0] + (hem[0] - waist[0]) * rng.uniform(0.1, 0.45), waist[1] + 40), hem)
    return np.concatenate([upper, lower[1:]]), float(bottom)


def _sleeves(kind: str, tip: Points, armpit: Points, rng: np.random.Generator) -> tuple[Part, Part]:
    """Both sleeves. Their own coordinates: origin at the shoulder tip, y along the arm, x inwards."""
    if kind == "long_sleeve":
        angle, length, taper = rng.uniform(0.24, 0.52), rng.uniform(188, 222), rng.uniform(0.50, 0.95)
    else:
        angle, length, taper = rng.uniform(0.45, 0.85), rng.uniform(50, 74), rng.uniform(0.80, 1.10)
    place = Frame.of(1.0, -angle, tip)  # y now leads outwards and down
    under = np.linalg.solve(place.matrix, armpit - tip)
    across = float(np.clip(-under[0], 34, 52)) * taper
    inner = np.array([-across, length])
    outline = np.concatenate(
        [
            curve((0, 0), (rng.uniform(6, 12), length * 0.25), (0, length)),
            inner[None],
            curve(inner, (under[0] * 0.5 - across * 0.5, (under[1] + length) / 2), under),
            curve(under, (under[0] * 0.6 - 16, under[1] * 0.5 - 12), (-8, -2)),  # runs on beneath the body
        ]
    )
    sides = [Frame.of(1.0, -angle, tip), Frame.of(1.0, angle, (-tip[0], tip[1]), mirrored=True)]
    left, right = (Part("sleeve", outline, side, 0.0, length, across) for side in reversed(sides))
    return left, right
