"""The corpus as a table, every case with its time and, for images, its memory: ``python -m tests.hostile``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from ops import tool
from tests.hostile.images import CASES
from tests.hostile.measuring import bench
from tests.hostile.running import ask, asking, replaced, servers

AT_ONCE = 6
"""Callers of ``/predict/``: fewer than its threads, so that none stands in line behind those that hang."""


def main() -> int:
    """Prints it, the worst cases last; 1 if a case came to something else than expected."""
    argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__).parse_args()
    return int(any([_through_predict(), _images()]))


def _through_predict() -> Sequence[str]:
    with (
        pytest.MonkeyPatch.context() as patch,
        replaced(patch),
        servers() as made,
        asking(made) as (service, sent),
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        found = list(pool.map(partial(ask, service), sent))
    for one in found:
        if one.sent.name != "good":
            print(f"{one.outcome:18} {one.status} {one.seconds * 1000:8.1f} ms  {one.sent.name}")
    worst = max(found, key=lambda one: one.seconds)
    print(f"\nlongest: {worst.seconds:.2f} s, {worst.sent.name}")
    return _wrong([(one.sent.name, one.outcome, one.sent.outcome) for one in found])


def _images() -> Sequence[str]:
    print()
    with bench() as on:
        found = [on.measure(case.name, case.body) for case in CASES]
    print(*(one.line() for one in found), sep="\n")
    print("\nlongest:    ", max(found, key=lambda one: one.seconds).line())
    print("most memory:", max(found, key=lambda one: one.peak_bytes).line())
    return _wrong([(case.name, one.outcome, case.outcome) for case, one in zip(CASES, found, strict=True)])


def _wrong(found: Sequence[tuple[str, str, str]]) -> Sequence[str]:
    wrong = [f"{name}: {outcome} instead of {expected}" for name, outcome, expected in found if outcome != expected]
    print(f"{len(found)} answers, {len(wrong)} wrong", *wrong, sep="\n")
    return wrong


if __name__ == "__main__":
    tool.run(main)
