"""Decoding in processes: whatever one image does to its decoder, it alone has the failure."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from consumer.decoding import limits, process
from consumer.decoding.decoder import Decoder
from consumer.errors import EventError, ImageCorrupt, ImageTooLarge, ImageUnsupported, NotAnImage
from consumer.imaging import DECODED, decode_image
from tests.decoding import sabotage
from tests.decoding.pictures import MAX_PIXELS, SIZE, MakeDecoder, failure, picture, plain
from tests.hostile.measuring import children, memory


@pytest.mark.parametrize("kind", DECODED)
def test_an_image_comes_to_the_same_as_in_this_process(make_decoder: MakeDecoder, kind: str) -> None:
    body = picture(kind=kind)
    there, here = make_decoder().decode(body, 30), decode_image(body, size=SIZE, max_pixels=MAX_PIXELS)
    np.testing.assert_array_equal(there.pixels, here.pixels)
    assert there.info == here.info


def test_an_image_that_the_channel_has_no_room_for_arrives_in_parts(make_decoder: MakeDecoder) -> None:
    body = picture(1000, 1000, "BMP")
    assert len(body) > 4 * process.CHANNEL_BYTES
    there, here = make_decoder().decode(body, 30), decode_image(body, size=SIZE, max_pixels=MAX_PIXELS)
    np.testing.assert_array_equal(there.pixels, here.pixels)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"no image", NotAnImage),
        (b"%PDF-1.7", ImageUnsupported),
        (picture()[:-100], ImageCorrupt),
        (plain(5000, 4001), ImageTooLarge),
    ],
)
def test_a_failure_is_told_in_the_words_of_this_process(
    make_decoder: MakeDecoder, body: bytes, expected: type[EventError]
) -> None:
    there = failure(make_decoder(), body)
    with pytest.raises(expected) as here:
        decode_image(body, size=SIZE, max_pixels=MAX_PIXELS)
    assert type(there) is expected
    assert str(there) == str(here.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aborts", ImageCorrupt),
        ("segfaults", ImageCorrupt),
        ("exits", ImageCorrupt),
        ("eats memory", ImageTooLarge),
        ("loops for ever", ImageCorrupt),
        ("is killed by the system", ImageTooLarge),
        ("answers nonsense", ImageCorrupt),
        ("answers too many pixels", ImageCorrupt),
        ("answers no pixels of a great width", ImageCorrupt),
        ("answers for another image", ImageCorrupt),
    ],
)
def test_a_decoder_that_misbehaves_fails_its_image_and_no_other(
    sabotaged: Decoder, name: str, expected: type[EventError]
) -> None:
    assert type(failure(sabotaged, sabotage.picture_that(name))) is expected
    assert sabotaged.decode(picture(), 30).info.width == 60
    assert type(failure(sabotaged, sabotage.picture_that(name))) is expected


def test_a_decoder_that_sleeps_for_ever_ends_with_the_events_time(sabotaged: Decoder) -> None:
    sabotaged.start()
    began = time.monotonic()
    failed = failure(sabotaged, sabotage.picture_that("sleeps for ever"), 0.5)
    assert (failed.code, failed.stage) == ("fetch_timeout", "decode")
    assert 0.5 <= time.monotonic() - began < 1.0
    assert sabotaged.decode(picture(), 30).info.width == 60


def test_a_loop_ends_by_the_time_of_the_processor_long_before_the_events(
    sabotaged: Decoder, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.process_time(), time.monotonic()
    failed = failure(sabotaged, sabotage.picture_that("loops for ever"), 60)
    assert str(failed) == "decoding the PNG image takes longer than its size explains"
    assert time.monotonic() - began[1] < 30
    (told,) = caplog.records
    assert told.getMessage().startswith("an image ended its decoder's process: SIGPROF (PNG of ")


def test_memory_that_an_image_eats_is_bounded(sabotaged: Decoder) -> None:
    sabotaged.start()
    (pid,) = children()
    failed = failure(sabotaged, sabotage.picture_that("eats memory"))
    assert str(failed) == "decoding the image takes more memory than its size explains"
    status = Path(f"/proc/{pid}/status").read_text()  # the very process lives on
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    assert 0.5 * limits.LARGE_BYTES < peak < limits.LARGE_BYTES + limits.SPARE_BYTES + 80 * 2**20


def test_an_image_before_which_the_decoder_was_killed_is_decoded_and_not_blamed(
    make_decoder: MakeDecoder, caplog: pytest.LogCaptureFixture
) -> None:
    using = make_decoder()
    using.start()
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert using.decode(picture(), 30).info.width == 60
    assert pid not in children()
    assert caplog.records == []


def test_a_crash_is_logged_with_what_finds_the_image_again(
    sabotaged: Decoder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        failure(sabotaged, sabotage.picture_that("aborts"))
    body = sabotage.picture_that("aborts")
    found = f"(PNG of {len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()})"
    assert [one.getMessage() for one in caplog.records] == [
        f"an image ended its decoder's process: SIGABRT {found}"
    ] * 2


def test_neighbours_of_a_crash_in_other_processes_do_not_notice(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "COMMAND", sabotage.COMMAND)
    using = make_decoder(3)

    def look(number: int) -> str:
        try:
            return using.decode(sabotage.picture_that("aborts") if number % 5 == 2 else picture(), 60).info.format
        except EventError as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(look, range(40)))
    assert found == ["image_corrupt" if number % 5 == 2 else "png" for number in range(40)]
    assert len(children()) <= 3


def test_a_process_is_small_again_after_a_large_image(make_decoder: MakeDecoder) -> None:
    using = make_decoder()
    using.decode(picture(), 30)
    (pid,) = children()
    idle = memory(pid, "VmRSS")
    using.decode(picture(2400, 2400, "BMP"), 60)
    assert children() == {pid}
    assert memory(pid) > idle + 30 * 2**20
    assert memory(pid, "VmRSS") < idle + 8 * 2**20
