"""The system without anything installed: drawn garments, their image server, an embedded broker, the training.

Names are imported when they are asked for: ``python -m consumer.demo.images`` would otherwise run a
module that its own package had imported before it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consumer.demo.broker import EmbeddedBroker
    from consumer.demo.drawing import Garment, draw_garment, truth_of
    from consumer.demo.images import ImageServer, Picture, pictures

__all__ = ["EmbeddedBroker", "Garment", "ImageServer", "Picture", "draw_garment", "pictures", "truth_of"]

_HOMES = {
    "EmbeddedBroker": "broker",
    "Garment": "drawing",
    "ImageServer": "images",
    "Picture": "images",
    "draw_garment": "drawing",
    "pictures": "images",
    "truth_of": "drawing",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
