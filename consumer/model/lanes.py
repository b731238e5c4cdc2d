"""How many calls the model answers side by side.

One for each core rather than one on all of them: the threads of one call wait for each other after every layer, and
whoever takes a core for a moment, a decoder above all, stops them all. Xception on two cores, with two programs beside
it that took a third of a core each: 107 images/s in int8 and 63 in TensorFlow's bfloat16 in two lanes, 85 and 45 in one
lane. An image that comes alone is answered later for it, after 13 ms instead of 8 (int8).
"""

from __future__ import annotations

import math

from consumer.machine import usable_cores

MOST_LANES = 8
"""Each holds the activations of a batch, and a thread that asks."""


def lanes() -> int:
    """As many as there are cores; where these are more than `MOST_LANES`, each has as many as another: 12 are six lanes
    of two."""
    cores = usable_cores()
    return cores // math.ceil(cores / MOST_LANES)
