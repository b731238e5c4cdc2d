"""Whoever sends an image has a turn, whatever others sent."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as FutureTimeout

import pytest

from consumer.decoding import limits, process
from consumer.decoding.decoder import Decoder
from consumer.decoding.shares import AGAIN_S, Shares
from consumer.decoding.standings import SLOW_S, Standings
from consumer.errors import FetchTimeout, ImageCorrupt
from tests.decoding import sabotage
from tests.decoding.pictures import MakeDecoder, failure, picture, plain
from tests.hostile.measuring import children


def test_a_large_image_is_decoded_when_no_other_large_one_is(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    using = make_decoder(2)
    large = plain(4000, 4000)
    assert limits.needed_bytes("PNG", 4000 * 4000, 4000 * 4000) > limits.LARGE_BYTES
    with using._room.one("another", 1):
        assert using.decode(picture(), 30).info.width == 60  # small ones go on
        with using._shares._standings.lock:
            using._shares._standings.took("slow", 1.0, time.monotonic())
        with pytest.raises(FetchTimeout):
            using.decode(large, 0.5, "slow")
    assert using.decode(large, 30).info.width == 4000


def test_slow_images_of_many_machines_leave_a_process_to_one_whose_images_are_quick(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "COMMAND", sabotage.COMMAND)
    decoder = make_decoder(processes=2)
    decoder.decode(picture(), 30, "quick")
    endless = sabotage.picture_that("sleeps for ever")
    with ThreadPoolExecutor(5) as threads:
        held = [threads.submit(decoder.decode, endless, 1.5, f"machine {number}") for number in range(5)]
        for _ in range(3):
            assert decoder.decode(picture(), 30, "quick").info.height == 40
        assert not any(one.done() for one in held)
        for one in held:
            with pytest.raises(FetchTimeout):
                one.result()


def test_an_image_is_slow_by_the_processors_time_and_not_by_what_it_waits(sabotaged: Decoder) -> None:
    took: list[tuple[object, float]] = []
    sabotaged._shares._standings.took = lambda machine, seconds, now: took.append((machine, seconds))  # type: ignore[method-assign] # a look at what it is told
    sabotaged.decode(picture(), 30, "quick")
    failure(sabotaged, b"\xff\xd8\xff")
    with pytest.raises(ImageCorrupt):
        sabotaged.decode(sabotage.picture_that("loops for ever"), 30, "in a circle")
    with pytest.raises(FetchTimeout):
        sabotaged.decode(sabotage.picture_that("sleeps for ever"), 1.0, "asleep")
    with pytest.raises(ImageCorrupt):
        sabotaged.decode(sabotage.picture_that("segfaults"), 30, "crash")
    by_machine = dict(took)
    assert 0 < by_machine["quick"] < 0.1
    assert 0 < by_machine[None] < 0.1
    assert by_machine["in a circle"] >= 0.5  # the CPU time that it may take
    assert by_machine["asleep"] > SLOW_S
    assert by_machine["crash"] >= SLOW_S


def test_who_waits_in_vain_leaves_the_line_and_holds_nothing() -> None:
    shares = Shares(1, Standings())
    with shares.one("a", 9), pytest.raises(TimeoutError), shares.one("b", 0.01):
        raise AssertionError
    with shares.one("c", 9) as turn:
        turn.took_s = 0.0
    with shares.one("c", 9):
        pass


def test_the_wait_of_a_quick_machine_is_not_held_against_its_image_and_that_of_another_is() -> None:
    standings = Standings()
    standings.took("quick", 0.001, time.monotonic())
    shares = Shares(1, standings)

    def wait_for_a_place(machine: str) -> float:
        with shares.one(machine, 0.3) as turn:
            return turn.counted_s

    with ThreadPoolExecutor(2) as threads, shares.one("quick", 9):
        waits = threads.submit(wait_for_a_place, "quick")
        with pytest.raises(TimeoutError):
            wait_for_a_place("new")
        assert not waits.done()  # although it began before
    assert waits.result(9) == 0.0
    with ThreadPoolExecutor(1) as threads, shares.one("quick", 9):
        waits = threads.submit(wait_for_a_place, "new")
        time.sleep(0.1)
    assert 0.05 < waits.result(9) < 0.3


def test_what_was_waited_while_quick_stays_free_when_the_machine_turns_slow() -> None:
    standings = Standings()
    standings.took("turns slow", 0.001, time.monotonic())
    shares = Shares(1, standings)

    def wait_for_a_place() -> float:
        with shares.one("turns slow", 3 * AGAIN_S) as turn:
            return turn.counted_s

    with ThreadPoolExecutor(1) as threads, shares.one("another", 9):
        waits = threads.submit(wait_for_a_place)
        with pytest.raises(FutureTimeout):
            waits.result(4 * AGAIN_S)
        with standings.lock:
            standings.took("turns slow", 9.0, time.monotonic())
    assert waits.result(9) < 2 * AGAIN_S


def test_a_machine_that_turns_slow_while_it_waits_gives_up() -> None:
    standings = Standings()
    standings.took("turns slow", 0.001, time.monotonic())
    shares = Shares(1, standings)
    with ThreadPoolExecutor(1) as threads, shares.one("another", 9):
        waits = threads.submit(shares.one("turns slow", 0.01).__enter__)
        with pytest.raises(FutureTimeout):
            waits.result(AGAIN_S / 2)
        with standings.lock:
            standings.took("turns slow", 9.0, time.monotonic())
        with pytest.raises(TimeoutError):
            waits.result(9)


def test_images_that_wait_for_busy_decoders_longer_than_their_time_are_decoded(make_decoder: MakeDecoder) -> None:
    using = make_decoder()
    using.decode(picture(), 30, "quick")
    (pid,) = children()
    os.kill(pid, signal.SIGSTOP)  # as where a model leaves it no processor
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(using.decode, picture(), 30, "quick")
        while not using._idle.empty():
            time.sleep(0.001)
        others = [threads.submit(using.decode, picture(), 0.1, "quick") for _ in range(8)]
        assert not wait([first, *others], 0.5).done
        os.kill(pid, signal.SIGCONT)
        assert [one.result(30).info.width for one in [first, *others]] == [60] * 9


def test_a_place_is_given_back_whatever_the_image_came_to(sabotaged: Decoder) -> None:
    for misdeed in ("segfaults", "answers nonsense"):
        with pytest.raises(ImageCorrupt):
            sabotaged.decode(sabotage.picture_that(misdeed), 30, "one")
    assert sabotaged.decode(picture(), 30, "one").info.height == 40
