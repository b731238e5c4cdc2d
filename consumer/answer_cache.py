"""Answers to images that came before, by their bytes: the same bytes are not decoded and predicted again.

Shops show one picture under many URLs and send one URL in many events, and the model is what costs most. The
key is the SHA-256 of the bytes as they came, which every outcome holds anyway. Nobody finds two files with one
such hash, so nobody can plant an answer for somebody else's image. The cache belongs to one loaded model, in one
process, and goes with it; an answer of another version or another backend is never met.

What it never does:

* It spares no fetch. Whether the image is there, and what it is today, the host says each time.
* It keeps no failure: the next event with those bytes may well succeed.
* An answer out of it says nothing of the model's health (`Prediction.recalled`): otherwise the images that are
  known would hide that the model is broken for all the others.

What a hit saves is the decoding and the model call; what a miss costs is five microseconds.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from dataclasses import replace

from consumer.events import Prediction

ENTRY_BYTES = 500
"""What an entry takes beside its probabilities: key, place in the table, `Prediction` and `ImageInfo`."""

NUMBER_BYTES = 24
"""A Python float."""


class AnswerCache:
    """Keeps the answers that were asked for last. Thread-safe.

    Args:
        max_bytes: most memory that they take together; the one that was not asked for longest goes first.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Prediction] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, sha256: str) -> Prediction | None:
        """The answer to the image with this hash, in hexadecimal; null if it is not known."""
        with self._lock:
            found = self._kept.get(sha256)
            if found is not None:
                self._kept.move_to_end(sha256)
            return found

    def put(self, prediction: Prediction) -> None:
        """Keeps the model's answer to an image."""
        sha256, size = prediction.image.sha256, size_of(prediction)
        recalled = replace(prediction, recalled=True)
        with self._lock:
            if sha256 in self._kept:
                return  # two fetches brought the same image at once
            self._kept[sha256] = recalled
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= size_of(gone)


def size_of(prediction: Prediction) -> int:
    """About how many bytes of memory it takes in the cache; 1.7 kB with the shipped model's 14 labels."""
    tasks = prediction.probabilities.values()
    tables = sys.getsizeof(prediction.probabilities) + sum(map(sys.getsizeof, tasks))
    return ENTRY_BYTES + tables + NUMBER_BYTES * sum(map(len, tasks))
