"""The verdict on half an hour of steady load: what leaks is told from what breathes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ops.steady_load import Look, judge

RATE, SECONDS, LOOK_EVERY_S, WARM_UP_S = 20, 1800, 5, 600
AT_REST_MIB = 180.0


def looks(rss_mib: Callable[[int], float], threads: Callable[[int], int] = lambda _: 64) -> list[Look]:
    """What would be seen, of memory and threads by seconds since the start."""
    return [
        Look(at_s=at, rss_mib=rss_mib(at), threads=threads(at), descriptors=50, events=RATE * at)
        for at in range(0, SECONDS, LOOK_EVERY_S)
    ]


def sawtooth(at: int) -> float:
    """8 MiB up in ten seconds, and down again: memory that is given back from time to time."""
    return AT_REST_MIB + 8 * (at % 10) / 10


def test_a_leak_of_half_a_kibibyte_an_event_is_growth(capsys: pytest.CaptureFixture[str]) -> None:
    assert not judge(looks(lambda at: sawtooth(at) + RATE * at / 2 / 1024), WARM_UP_S)
    assert capsys.readouterr().out.count("GROWS") == 1


def test_memory_that_breathes_is_flat() -> None:
    assert judge(looks(sawtooth), WARM_UP_S)


def test_what_grows_while_it_warms_up_and_then_stays_is_flat() -> None:
    assert judge(looks(lambda at: sawtooth(at) + 60 * min(1.0, at / WARM_UP_S)), WARM_UP_S)


def test_a_thread_a_minute_that_stays_is_growth() -> None:
    assert not judge(looks(sawtooth, threads=lambda at: 64 + at // 60), WARM_UP_S)
