"""Decoding in processes: whatever one image does to its decoder, it alone has the failure."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from consumer.decoding import decoder, limits, process
from consumer.decoding.decoder import Decoder
from consumer.errors import (
    EventError,
    FatalError,
    FetchTimeout,
    ImageCorrupt,
    ImageTooLarge,
    ImageUnsupported,
    NotAnImage,
    Overloaded,
)
from consumer.imaging import DECODED, decode_image
from tests.decoding import sabotage
from tests.hostile.measuring import children, memory

SIZE = (24, 16)
MAX_PIXELS = 20_000_000
MakeDecoder = Callable[..., Decoder]


@pytest.fixture
def make_decoder() -> Iterator[MakeDecoder]:
    made: list[Decoder] = []

    def make(processes: int = 1, max_pixels: int = MAX_PIXELS) -> Decoder:
        made.append(Decoder(SIZE, max_pixels, processes))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def sabotaged(make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch) -> Decoder:
    """A decoder with one process, whose PNGs of certain widths misbehave."""
    monkeypatch.setattr(process, "COMMAND", sabotage.COMMAND)
    return make_decoder()


def picture(width: int = 60, height: int = 40, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def plain(width: int, height: int) -> bytes:
    file = BytesIO()
    Image.new("L", (width, height)).save(file, "PNG")
    return file.getvalue()


def failure(using: Decoder, body: bytes, timeout_s: float = 30.0) -> EventError:
    with pytest.raises(EventError) as caught:
        using.decode(body, timeout_s)
    assert "\n" not in str(caught.value)
    return caught.value


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


# ── a process that an image took over ────────────────────────────────────────────────────────────


def say_something_unasked(sabotaged: Decoder) -> int:
    """Has the next answer forged; gives the process that did it, once it has."""
    assert sabotaged.decode(sabotage.picture_that("answers for the next image"), 30).info.height == 2
    lent = sabotaged._idle.queue[-1]
    assert lent is not None
    assert select.select([lent._channel], [], [], 30)[0]
    return lent.pid


def test_what_a_process_says_before_it_is_asked_is_no_answer_and_its_last_word(sabotaged: Decoder) -> None:
    pid = say_something_unasked(sabotaged)
    body = picture()
    there, here = sabotaged.decode(body, 30), decode_image(body, size=SIZE, max_pixels=MAX_PIXELS)
    np.testing.assert_array_equal(there.pixels, here.pixels)
    assert pid not in children()


def test_an_answer_without_the_number_of_its_request_harms_its_process_and_not_the_image(
    sabotaged: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come between the look whether there is one and the request."""
    pid = say_something_unasked(sabotaged)
    monkeypatch.setattr(process.DecoderProcess, "is_quiet", lambda _: True)
    body = picture()
    there, here = sabotaged.decode(body, 30), decode_image(body, size=SIZE, max_pixels=MAX_PIXELS)
    np.testing.assert_array_equal(there.pixels, here.pixels)
    assert pid not in children()


def test_an_image_that_has_every_decoder_answer_for_another_is_nonsense(sabotaged: Decoder) -> None:
    assert str(failure(sabotaged, sabotage.picture_that("answers for another image"))) == process.NONSENSE


def test_a_process_makes_room_for_a_new_one_after_so_many_images_once_that_is_ready(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "IMAGES_EACH", 3)
    using = make_decoder()
    using.start()
    (first,) = children()
    seen: list[int] = []
    for body in (picture(), b"\xff\xd8\xff", picture()):
        seen.append(lent_next(using))
        with contextlib.suppress(ImageCorrupt):
            using.decode(body, 30)
    assert seen == [first] * 3
    (successor,) = children() - {first}  # was started while the first may still be lent
    while (now := lent_next(using)) == first:
        using.decode(picture(), 30)
    assert now == successor
    assert children() == {successor}


def test_a_process_ends_after_so_many_images_even_if_no_other_can_be_started(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "IMAGES_EACH", 3)
    monkeypatch.setattr(process, "MORE_IMAGES", 2)
    using = make_decoder()
    using.start()
    monkeypatch.setattr(process, "COMMAND", ("/no/such/program",))
    for _ in range(5):
        using.decode(picture(), 30)
    assert not children()
    assert type(failure(using, picture())) is Overloaded
    assert "no process for decoding can be started" in caplog.text


def lent_next(using: Decoder) -> int:
    lent = using._idle.queue[-1]
    assert lent is not None
    return lent.pid


# ── large images ─────────────────────────────────────────────────────────────────────────────────


def test_a_large_image_is_decoded_when_no_other_large_one_is(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    using = make_decoder(2)
    large = plain(4000, 4000)
    assert limits.needed_bytes("PNG", 4000 * 4000, 4000 * 4000) > limits.LARGE_BYTES
    with using._only_large_one(time.monotonic() + 1):
        assert using.decode(picture(), 30).info.width == 60  # small ones go on
        assert type(failure(using, large, 0.5)) is FetchTimeout
    assert using.decode(large, 30).info.width == 4000


def test_a_process_is_small_again_after_a_large_image(make_decoder: MakeDecoder) -> None:
    using = make_decoder()
    using.decode(picture(), 30)
    (pid,) = children()
    idle = memory(pid, "VmRSS")
    using.decode(picture(2400, 2400, "BMP"), 60)
    assert children() == {pid}
    assert memory(pid) > idle + 30 * 2**20
    assert memory(pid, "VmRSS") < idle + 8 * 2**20


# ── start and end ────────────────────────────────────────────────────────────────────────────────


def test_the_process_is_given_no_secret_no_descriptor_of_ours_and_no_way_to_another(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "s3cr3t")
    with open(__file__, "rb") as ours:  # inheritable, as a careless library makes it
        os.set_inheritable(ours.fileno(), True)
        make_decoder().start()
    (pid,) = children()
    there = Path(f"/proc/{pid}")
    assert b"s3cr3t" not in (there / "environ").read_bytes()
    open_files = [os.readlink(one) for one in (there / "fd").iterdir()]
    assert __file__ not in open_files
    assert sum(one.startswith("socket:") for one in open_files) == 1
    assert {one for one in open_files if not one.startswith("socket:")} == {os.devnull, f"/proc/{pid}/statm"}
    assert re.search(r"Max open files +0 +0 ", (there / "limits").read_text())


def test_a_process_starts_without_what_takes_longest_to_import() -> None:
    code = "import sys, consumer.decoding.worker; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_processes_are_started_when_they_are_needed(make_decoder: MakeDecoder) -> None:
    using = make_decoder(4)
    before = children()
    for _ in range(5):
        using.decode(picture(), 30)
    assert len(children() - before) == 1


def test_closing_ends_every_process_and_tells_whoever_comes_late(make_decoder: MakeDecoder) -> None:
    using = make_decoder(2)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: using.decode(picture(), 30), range(20)))
    assert children()
    using.close()
    using.close()
    assert not children()
    assert type(failure(using, picture())) is Overloaded


def test_closing_while_an_image_is_decoded_ends_that_process_with_it(sabotaged: Decoder) -> None:
    sabotaged.start()
    late: list[BaseException] = []

    def look() -> None:
        try:
            sabotaged.decode(sabotage.picture_that("sleeps for ever"), 1)
        except EventError as error:
            late.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    while not sabotaged._idle.empty():
        time.sleep(0.001)
    sabotaged.close()
    thread.join(10)
    assert [type(one) for one in late] == [FetchTimeout]
    assert not children()


def test_a_process_ends_when_the_service_is_gone(make_decoder: MakeDecoder) -> None:
    using = make_decoder()
    using.start()
    lent = using._idle.get()
    assert lent is not None
    lent._channel.close()
    assert lent._child.wait(10) == 0
    using._idle.put(None)


def test_a_machine_that_can_start_no_process_is_told_at_the_start(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "COMMAND", ("/no/such/program",))
    with pytest.raises(FatalError, match="no process for decoding can be started: No such file"):
        make_decoder().start()
    monkeypatch.setattr(process, "COMMAND", ("/bin/false",))
    with pytest.raises(FatalError, match=r"a process for decoding ended at its start \(exit code 1\)"):
        make_decoder().start()


def test_a_machine_that_can_start_no_process_later_is_told_as_such_and_not_as_the_images_fault(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(process, "COMMAND", ("/no/such/program",))
    failed = failure(make_decoder(), picture())
    assert (failed.code, failed.stage, failed.retriable) == ("overloaded", "decode", True)
    monkeypatch.setattr(socket, "socketpair", no_more)
    failed = failure(make_decoder(), picture())
    assert (failed.code, failed.stage, failed.retriable) == ("overloaded", "decode", True)


def test_a_process_that_is_slow_to_start_is_waited_for_and_not_thrown_away(make_decoder: MakeDecoder) -> None:
    using = make_decoder()
    assert type(failure(using, picture(), 0.001)) is FetchTimeout
    (pid,) = children()
    assert using.decode(picture(), decoder.START_S).info.width == 60
    assert children() == {pid}


def test_images_of_one_machine_leave_a_process_to_the_others(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "COMMAND", sabotage.COMMAND)
    decoder = make_decoder(processes=2)
    endless = sabotage.picture_that("sleeps for ever")
    with ThreadPoolExecutor(3) as threads:
        held = [threads.submit(decoder.decode, endless, 6.0, "greedy") for _ in range(3)]
        assert decoder.decode(picture(), 5.0, "other").info.height == 40
        assert not any(one.done() for one in held)
        for one in held:
            with pytest.raises(FetchTimeout):
                one.result()


def test_a_place_is_given_back_whatever_the_image_came_to(sabotaged: Decoder) -> None:
    for misdeed in ("segfaults", "answers nonsense"):
        with pytest.raises(ImageCorrupt):
            sabotaged.decode(sabotage.picture_that(misdeed), 30, "one")
    assert sabotaged.decode(picture(), 30, "one").info.height == 40
