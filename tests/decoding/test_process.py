"""What becomes of processes that decode: taken over by an image, worn, not to be started, closed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from consumer.decoding import decoder, process
from consumer.decoding.decoder import Decoder
from consumer.errors import EventError, FatalError, FetchTimeout, ImageCorrupt, Overloaded
from consumer.imaging import decode_image
from tests.decoding import sabotage
from tests.decoding.pictures import MAX_PIXELS, SIZE, MakeDecoder, failure, picture
from tests.hostile.measuring import children

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


def test_a_process_that_is_slow_to_start_is_waited_for_and_no_fault_of_the_image(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = "import time; time.sleep(0.5); from consumer.decoding import worker; worker.main()"
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", late))
    assert make_decoder().decode(picture(), 0.4).info.width == 60


def test_a_process_that_is_not_ready_for_long_is_our_trouble_and_not_thrown_away(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    using = make_decoder()
    monkeypatch.setattr(decoder, "START_S", 0.001)
    failed = failure(using, picture())
    assert (failed.code, failed.stage, failed.retriable) == ("overloaded", "decode", True)
    assert "no process for decoding was ready after 0.001 s" in caplog.text
    (pid,) = children()
    monkeypatch.undo()
    assert using.decode(picture(), 30).info.width == 60
    assert children() == {pid}
