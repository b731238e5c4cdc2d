"""Numbers as options of the command line: each parser names what it accepts."""

from __future__ import annotations

import argparse
import math


def positive(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def seconds(text: str) -> float:
    """A number of seconds above 0."""
    return _above_zero(text, "a number of seconds above 0")


def rate(text: str) -> float:
    """Events a second, above 0."""
    return _above_zero(text, "a number of events a second above 0")


def _above_zero(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value
