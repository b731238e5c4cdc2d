"""What a broker is given at once is halved when it was too large, and tried larger again later."""

from __future__ import annotations

import math

from consumer.stream.room import WIDER_AFTER_S, Room


def test_what_was_too_large_is_halved_and_doubled_again_after_a_minute_until_it_is_no_limit() -> None:
    now = 100.0
    room = Room(lambda: now)
    assert room.size() == math.inf
    room.refused(600_000)
    assert room.size() == 300_000
    now += WIDER_AFTER_S - 1
    assert room.size() == 300_000
    now += 1
    assert [room.size(), room.size()] == [600_000, 600_000]
    room.refused(600_000)
    now += WIDER_AFTER_S
    assert room.size() == 600_000
    now += WIDER_AFTER_S
    assert room.size() == math.inf
