"""One record is one line, whatever is in it, and everything is put back afterwards."""

from __future__ import annotations

import io
import logging
import sys
import threading
import warnings
from typing import Any

import pytest

from consumer.logs import configure, kafka_logger
from tests.logs.reading import NASTY, Out, fail, log, records, run


def test_json_is_one_object_a_line_with_time_level_logger_and_message(capsys: Out) -> None:
    with configure("json", capture=False):
        log.warning("held up for %d s", 7)
    (record,) = records(capsys.readouterr().out)
    assert record.pop("time").endswith("Z")
    assert record == {"level": "warning", "logger": "here", "message": "held up for 7 s"}


def test_the_time_is_rfc_3339_in_utc_with_milliseconds(capsys: Out) -> None:
    record = logging.makeLogRecord({"created": 1795508389.5967, "levelno": logging.ERROR})
    with configure("json", capture=False):
        logging.getLogger().handle(record)
    assert records(capsys.readouterr().out)[0]["time"] == "2026-11-24T08:19:49.596Z"


def test_fields_given_as_extra_stand_in_json_under_their_names(capsys: Out) -> None:
    with configure("json", capture=False):
        log.info("x", extra={"partition": 3, "ratio": 0.5, "tasks": ["print"], "odd": float("nan"), "level": "mine"})
    (record,) = records(capsys.readouterr().out)
    assert (record["partition"], record["ratio"], record["tasks"], record["odd"]) == (3, 0.5, ["print"], "nan")
    assert (record["level"], record["level_"]) == ("info", "mine")


def test_fields_given_as_extra_stand_in_text_behind_the_message(capsys: Out) -> None:
    with configure("text"):
        log.info("done", extra={"partition": 3, "why": "two words"})
    assert capsys.readouterr().out.rstrip().endswith('INFO    here: done partition=3 why="two words"')


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_whatever_is_in_a_record_it_is_one_printable_line(capsys: Out, log_format: Any) -> None:
    with configure(log_format, capture=False):
        log.info("%s", NASTY, extra={"field": NASTY})
        try:
            fail(ValueError(NASTY))
        except ValueError:
            log.exception(NASTY)
    lines = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_json_keeps_what_was_said(capsys: Out) -> None:
    with configure("json", capture=False):
        log.info("%s", NASTY)
    assert records(capsys.readouterr().out)[0]["message"] == NASTY


def test_an_exception_is_one_field_in_json(capsys: Out) -> None:
    with configure("json", capture=False):
        try:
            fail(KeyError("x"))
        except KeyError:
            log.exception("failed")
    exception = records(capsys.readouterr().out)[0]["exception"]
    assert exception.startswith("Traceback")
    assert exception.endswith("KeyError: 'x'\n")


def test_an_exception_in_text_tells_type_frames_and_cause_on_its_line(capsys: Out) -> None:
    with configure("text"):
        try:
            fail(KeyError("x"), OSError("disk"))
        except KeyError:
            log.exception("failed")
    told = capsys.readouterr().out
    assert "failed | KeyError: 'x' [reading.py:" in told
    assert told.endswith("], from OSError: disk\n")


def test_a_record_that_cannot_be_formatted_is_told_as_that() -> None:
    told, stderr, code = run("configure('json')\nlog.info('%d events', 'no number')")
    assert (stderr, code) == ("", 0)
    assert told[0]["message"].startswith("the record logged at <string>:5 cannot be told: TypeError")


def test_text_has_colours_only_on_a_terminal(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    with configure("text"):
        log.info("plain")
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with configure():
        log.info("green")
    assert "\x1b[32mINFO" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    with configure():
        log.info("plain")
    assert "\x1b" not in capsys.readouterr().out


def test_without_a_terminal_the_format_is_json(capsys: Out) -> None:
    with configure(capture=False):
        log.info("x")
    assert len(records(capsys.readouterr().out)) == 1


def test_levels_below_the_one_asked_for_are_not_told(capsys: Out) -> None:
    with configure("json", "error", capture=False):
        log.warning("no")
        logging.getLogger("uvicorn.error").warning("no")
        log.error("yes")
    assert [record["message"] for record in records(capsys.readouterr().out)] == ["yes"]


def test_libraries_that_would_log_urls_are_quiet_even_at_debug(capsys: Out) -> None:
    with configure("json", "debug", capture=False):
        logging.getLogger("urllib3.connectionpool").debug('"GET /?token=x HTTP/1.1" 200')
        logging.getLogger("uvicorn.access").info("GET /predict/?url=x")
        kafka_logger().debug("yes")
    assert [record["logger"] for record in records(capsys.readouterr().out)] == ["librdkafka"]


def test_python_warnings_are_records(capsys: Out) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with configure("json", capture=False):
            warnings.warn("old", UserWarning, stacklevel=1)
    assert records(capsys.readouterr().out)[0]["logger"] == "py.warnings"


def test_an_exception_that_ends_a_thread_is_a_record(capsys: Out) -> None:
    with configure("json", capture=False):
        thread = threading.Thread(target=fail, args=[KeyError("x")], name="the-thread")
        thread.start()
        thread.join()
    (record,) = records(capsys.readouterr().out)
    assert "the-thread" in record["message"]
    assert "KeyError" in record["exception"]


def test_a_log_that_nobody_reads_any_more_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    with configure("json", capture=False):
        log.info("x")


def test_after_closing_everything_is_as_before(capsys: Out) -> None:
    names = ["", "uvicorn", "urllib3"]
    before = (
        list(logging.getLogger().handlers),
        [logging.getLogger(name).level for name in names],
        (sys.excepthook, threading.excepthook, sys.unraisablehook),
        warnings.showwarning,
    )
    logs = configure("json", "debug", capture=False)
    logs.close()
    logs.close()
    log.error("not there")
    assert capsys.readouterr().out == ""
    assert before == (
        list(logging.getLogger().handlers),
        [logging.getLogger(name).level for name in names],
        (sys.excepthook, threading.excepthook, sys.unraisablehook),
        warnings.showwarning,
    )
