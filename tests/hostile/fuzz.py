"""Seeded mutation fuzz of what reads strangers' bytes: ``python -m tests.hostile.fuzz --inputs 100000``.

Half of the inputs are images, a quarter each URLs and events. Every input is a function of seed, target and
number, so a finding replays alone: ``--seed 1 --target images --first 4711 --inputs 1``. A finding is an
exception outside of the vocabulary, a process that died, a time over the limit, or memory that grows.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

from consumer.codec import decode_event, encode_event
from consumer.decoding.decoder import Decoder
from consumer.errors import EventError, EventUnreadable, ImageError, UrlInvalid
from consumer.events import ImageUrl
from consumer.fetching.urls import parse
from consumer.logs import mask_url
from consumer.records import Record
from ops import tool
from tests.hostile import events, images, urls
from tests.hostile.measuring import PREDICTED, SIZE, children, memory
from tests.hostile.mutations import damaged, mended, respelt

PROCESSES = 2
MAX_PIXELS = 2_000_000
LARGEST_SAMPLE = 20_000
MOST_S = {"images": 5.0, "urls": 1.0, "events": 1.0}
"""Longest that one input may take, on a machine that does other things too; the service's limit is 10 s."""

MAY_GROW = 48 * 2**20
"""Bytes by which a process may be larger at the end than after the first tenth."""

DEADLINE_S = 10.0

EVENT = ImageUrl("e-17", "https://shop.example/a.jpg?size=l", 1_790_000_000_000, {"product": "A-17", "ключ": "é"})
IMAGES = [case.body for case in images.CASES if 0 < len(case.body) < LARGEST_SAMPLE]
GOOD_URLS = [
    "http://a.example/b/c.jpg?d=e&f=%20g",
    "https://user-images.bücher.example:8443/kjø%C3%B8.png",
    "http://93.184.216.34/",
    "https://[2606:2800:220:1:248:1893:25c8:1946]:443/a?b#c",
]
URLS = GOOD_URLS * 30 + [case.url for case in urls.URLS if len(case.url) < 500]
EVENTS = [
    *(encode_event(EVENT, form) for form in ("avro", "json") for _ in range(40)),
    *(value for value in events.UNREADABLE.values() if value and len(value) < LARGEST_SAMPLE),
]


@dataclass
class Findings:
    """What a run came to; ``outcomes`` counts them by target and code."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: dict[str, tuple[float, int]] = field(default_factory=dict)


class Fuzz:
    """Throws the dice of one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._decoder = Decoder(SIZE, MAX_PIXELS, PROCESSES)
        self._targets: dict[str, Callable[[Random], str]] = {
            "images": self._image,
            "urls": self._url,
            "events": self._event,
        }
        self.findings = Findings()

    def run(self, inputs: int, first: int = 0, only: str | None = None) -> Findings:
        """So many inputs, from the one of number ``first`` on."""
        for target, share in (("images", 2), ("urls", 4), ("events", 4)):
            if only in (None, target):
                count = inputs if only else inputs // share
                warm = first + count // 10
                self._through(target, range(first, warm))
                before = self._sizes()
                self._through(target, range(warm, first + count))
                self._compare(target, before, self._sizes())
        return self.findings

    def close(self) -> None:
        """Ends the decoders."""
        self._decoder.close()

    def _through(self, target: str, numbers: range) -> None:
        if target != "images":
            for number in numbers:
                self._one(target, number)
            return
        with ThreadPoolExecutor(PROCESSES) as pool:
            for begin in range(numbers.start, numbers.stop, 1000):  # what waits takes memory, and is not the question
                part = range(begin, min(begin + 1000, numbers.stop))
                list(pool.map(lambda number: self._one("images", number), part))

    def _one(self, target: str, number: int) -> None:
        began = time.monotonic()
        try:
            outcome = self._targets[target](Random(f"{self._seed} {target} {number}"))
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            outcome = "a finding"
            self._found(target, number, f"{type(error).__qualname__}: {error}")
        seconds = time.monotonic() - began
        self.findings.outcomes[target, outcome] += 1
        if seconds > MOST_S[target]:
            self._found(target, number, f"took {seconds:.1f} s")
        self.findings.slowest[target] = max(self.findings.slowest.get(target, (0.0, 0)), (seconds, number))

    def _found(self, target: str, number: int, what: str) -> None:
        replay = f"python -m tests.hostile.fuzz --seed {self._seed} --target {target} --first {number} --inputs 1"
        self.findings.wrong.append(f"{what}; {replay}")

    def _image(self, dice: Random) -> str:
        body = damaged(dice.choice(IMAGES), dice.choice(IMAGES), dice)
        if body.startswith(b"\x89PNG") and dice.random() < 0.7:
            body = mended(body)
        died = self._decoder.deaths
        try:
            image = self._decoder.decode(body, DEADLINE_S, threading.get_ident())  # each has a process of its own
        except ImageError as error:
            _check_text(error)
            outcome = error.code
        else:
            assert image.pixels.shape == (SIZE[1], SIZE[0], 3)
            assert 0 < image.info.width * image.info.height <= MAX_PIXELS
            outcome = PREDICTED
        assert self._decoder.deaths == died, "a decoder's process died"
        return outcome

    def _url(self, dice: Random) -> str:
        url = respelt(dice.choice(URLS), dice.choice(URLS), dice)
        masked = mask_url(url)
        assert masked.isprintable()
        assert len(masked) <= 200
        try:
            target = parse(url)
        except UrlInvalid as error:
            _check_text(error)
            return error.code
        assert target.host.isascii()
        assert target.resource.isascii()
        assert target.resource.isprintable()
        assert parse(target.url) == target, "its canonical form is another target"
        return "read"

    def _event(self, dice: Random) -> str:
        value = damaged(dice.choice(EVENTS), dice.choice(EVENTS), dice)
        try:
            event = decode_event(Record("t", 0, 0, 0, None, value))
        except EventUnreadable as error:
            _check_text(error)
            return error.code
        for form in ("avro", "json"):
            again = decode_event(Record("t", 0, 0, 0, None, encode_event(event, form)))
            assert again == event, f"its {form} is another event"
        return "read"

    def _sizes(self) -> dict[str, int]:
        """Of this process, and of the largest decoder: each of those is replaced long before the run ends."""
        decoders = max((memory(pid, "VmRSS") for pid in children()), default=0)
        return {"this process": memory(os.getpid(), "VmRSS"), "the largest decoder": decoders}

    def _compare(self, target: str, before: dict[str, int], after: dict[str, int]) -> None:
        for name, size in after.items():
            if (grown := size - before[name]) > MAY_GROW:
                self.findings.wrong.append(f"{target}: {name} has grown by {grown / 2**20:.0f} MiB")


def _check_text(error: EventError) -> None:
    assert str(error).isprintable(), "the text of the error is not one line"


def main() -> int:
    """Prints what came out; 1 with findings."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--inputs", type=int, default=10_000, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all of them (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first (default: %(default)s)")
    parser.add_argument("--target", choices=list(MOST_S), help="one kind of input (default: all)")
    options = parser.parse_args()
    began = time.monotonic()
    fuzz = Fuzz(options.seed)
    try:
        found = fuzz.run(options.inputs, options.first, options.target)
    finally:
        fuzz.close()
    for (target, outcome), count in sorted(found.outcomes.items()):
        print(f"{target:8} {outcome:18} {count:8}")
    for target, (seconds, number) in found.slowest.items():
        print(f"{target:8} slowest {seconds * 1000:.1f} ms, input {number}")
    print(f"{sum(found.outcomes.values())} inputs in {time.monotonic() - began:.0f} s, {len(found.wrong)} findings")
    print(*found.wrong[:20], sep="\n", end="\n" if found.wrong else "")
    return int(bool(found.wrong))


if __name__ == "__main__":
    tool.run(main)
