"""One line per record, secrets masked, native libraries' lines included, and everything put back afterwards."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from typing import Any

import pytest

from consumer.logs import configure, kafka_logger, mask_url, printable, secrets_of
from consumer.logs.native import read_line
from consumer.settings import Settings

Out = pytest.CaptureFixture[str]

NASTY = "a\nb\r\tc\x1b[31md\x00\x07\x85\u2028\u2029e\u202e\x9bf\x7f\ud800"

log = logging.getLogger("here")


def fail(error: Exception, cause: Exception | None = None) -> None:
    raise error from cause


def records(text: str) -> list[dict[str, Any]]:
    """The JSON objects of a log; a line that is none fails the test."""
    return [json.loads(line) for line in text.splitlines()]


def run(script: str, **environ: str) -> tuple[list[dict[str, Any]], str, int]:
    """Runs a script of its own process: the records on its stdout, its stderr, its exit code."""
    script = f"import logging, os, sys\nfrom consumer.logs import configure\nlog = logging.getLogger('here')\n{script}"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ | {"PYTHONUNBUFFERED": ""} | environ,  # so that something is held back
    )
    return records(done.stdout), done.stderr, done.returncode


# ── the line ─────────────────────────────────────────────────────────────────────────────────────


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
    assert "failed | KeyError: 'x' [test_logs.py:" in told
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


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_secret_is_starred_out_wherever_it_stands(capsys: Out, log_format: Any) -> None:
    secret = 'pass"w\\ord/1'
    with configure(log_format, secrets=[secret], capture=False):
        log.info("it is %s", secret, extra={"field": secret, "deep": {"er": [secret]}})
        log.info("in a URL: pass%22w%5Cord%2F1 or pass%22w%5Cord/1")
        try:
            fail(ValueError(f"refused: {secret}"))
        except ValueError:
            log.exception("failed")
    told = capsys.readouterr().out
    assert "ord" not in told
    assert told.count("***") == 6


def test_a_secret_that_looks_like_json_does_not_break_the_line(capsys: Out) -> None:
    with configure("json", secrets=["level", '": "'], capture=False):
        log.info("my level")
    assert records(capsys.readouterr().out)[0]["message"] == "my ***"


def test_a_secret_of_three_letters_is_not_looked_for(capsys: Out) -> None:
    with configure("json", secrets=["a", ""], capture=False):
        log.info("banana")
    assert records(capsys.readouterr().out)[0]["message"] == "banana"


def test_the_secrets_of_the_settings_are_known() -> None:
    settings = Settings.from_env(
        {
            "HTTP_API_KEY": "key-of-the-api",
            "KAFKA_SASL_PASSWORD": "word-for-all",
            "KAFKA_CONSUMER_SASL_PASSWORD": "word-for-consumers",
            "KAFKA_SASL_USERNAME": "somebody",
        }
    )
    settings = replace(settings, schema_registry_url="https://user:p%40ss@registry.example/")
    assert set(secrets_of(settings)) == {"key-of-the-api", "word-for-all", "word-for-consumers", "p%40ss", "p@ss"}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://example.com/a/b.jpg", "https://example.com/a/b.jpg"),
        ("https://example.com:8443/a?w=100&sig=s3cret", "https://example.com:8443/a?w=***&sig=***"),
        ("https://example.com/a?s3cret", "https://example.com/a?***"),
        ("https://example.com/a?a=s3cret;b=s3cret&&c=", "https://example.com/a?a=***;b=***&&c=***"),
        ("https://example.com/a?sig=s3=cret?#x", "https://example.com/a?sig=***#***"),
        ("https://example.com/a#s3cret", "https://example.com/a#***"),
        ("https://user:s3cret@example.com/", "https://***@example.com/"),
        ("https://s3cret@example.com/", "https://***@example.com/"),
        ("https://user:s3@cret@example.com/", "https://***@example.com/"),
        ("https://user:s3/cret@example.com/", "https://***"),
        ("https://user:s3?cret@example.com/", "https://***"),
        ("https://user:s3#cret@example.com/", "https://***"),
        ("https:/user:s3cret@example.com/", "https:/***@example.com/"),
        ("https:\\\\user:s3cret@example.com\\", "https:\\\\***@example.com\\"),
        ("https:////user:s3cret@example.com/", "https:////***@example.com/"),
        ("//user:s3cret@example.com/", "//***@example.com/"),
        ("user:s3cret@example.com/", "user:***@example.com/"),
        ("blob:https://user:s3cret@example.com/", "blob:https://***@example.com/"),
        ("https://example.com/@user/a.jpg", "https://example.com/@user/a.jpg"),
        ("https://[::1]:80/a", "https://[::1]:80/a"),
        ("https://example.com/a;token=s3cret/b", "https://example.com/a;***/b"),
        ("https://example.com/a.jpg%3Ftoken=s3cret", "https://example.com/a.jpg%3F***"),
        (
            "https://proxy.example/http%3a%2f%2fh%2fa%253Ftoken=s3cret",
            "https://proxy.example/http%3a%2f%2fh%2fa%253F***",
        ),
        ("https://[::1/a", "https://***"),
        ("https://example.com/\r\nSet-Cookie: x\x1b", "https://example.com/\\r\\nSet-Cookie: x\\x1b"),
        ("", ""),
        ("no url at all", "no url at all"),
    ],
)
def test_a_url_is_told_without_its_private_parts(url: str, told: str) -> None:
    assert mask_url(url) == told
    assert "s3cret" not in mask_url(url)


def test_a_url_is_told_in_two_hundred_characters_at_most() -> None:
    assert len(mask_url("https://example.com/" + "\x00" * 500)) == 200
    assert len(mask_url("https://" + "a:" * 500)) <= 200


@pytest.mark.parametrize("text", [":", "a:", "@", "a:b@", ";", "/", "&", "%", "\x00", "é"])
@pytest.mark.parametrize("begin", ["", "http://", "http://h/", "http://h/?"])
def test_a_url_of_a_million_characters_is_told_at_once(begin: str, text: str) -> None:
    began = time.process_time()
    assert len(mask_url(begin + text * 1_000_000)) <= 200
    assert time.process_time() - began < 0.5  # 5 ms; the form that backtracked would have taken days


def test_the_password_of_a_url_that_is_cut_is_not_told() -> None:
    assert mask_url("http://user:" + "s3cret" * 1_000 + "@host/") == "http://***"
    assert "s3cret" not in mask_url("http://host/" + "a/" * 50 + "u:" + "s3cret" * 1_000 + "@host")


def test_printable_leaves_ordinary_text_alone() -> None:
    assert printable("Größe 10 × 20, 服装") == "Größe 10 × 20, 服装"
    assert printable(NASTY).isprintable()


# ── native lines ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "logger", "level", "message"),
    [
        (
            "I0000 00:00:1795508389.596600   28734 port.cc:153] oneDNN is on.",
            "native",
            logging.DEBUG,
            "port.cc:153: oneDNN is on.",
        ),
        (
            "E0000 00:00:1795508406.766056 28734 cuda_platform.cc:52] failed call to cuInit: x",
            "native",
            logging.ERROR,
            "cuda_platform.cc:52: failed call to cuInit: x",
        ),
        (
            "2026-11-24 08:12:58.123456: W tensorflow/core/a.cc:9] slow",
            "native",
            logging.WARNING,
            "tensorflow/core/a.cc:9: slow",
        ),
        ("F1124 08:12:58.123456 1 a.cc:9] dead", "native", logging.CRITICAL, "a.cc:9: dead"),
        (
            "%3|1795508389.596|FAIL|rdkafka#producer-1| [thrd:x]: refused",
            "librdkafka",
            logging.ERROR,
            "FAIL rdkafka#producer-1| [thrd:x]: refused",
        ),
        ("%0|1795508389.596|FATAL|x| fenced", "librdkafka", logging.CRITICAL, "FATAL x| fenced"),
        ("%7|1795508389.596|INIT|x| y", "librdkafka", logging.DEBUG, "INIT x| y"),
        ("terminate called", "stderr", None, "terminate called"),
    ],
)
def test_the_severity_of_a_native_line_is_read(line: str, logger: str, level: int | None, message: str) -> None:
    assert read_line("stderr", line) == (logger, level, message)


def test_every_line_that_the_process_writes_is_a_json_object() -> None:
    told, stderr, code = run(
        """
configure("json")
log.info("ours")
print("a print")
print("another", file=sys.stderr)
os.write(2, b"2026-11-24 08:12:58.123456: W tensorflow/a.cc:9] native\\n")
os.write(1, b"bad bytes \\xff\\x1b\\r\\n")
os.system("echo a child")
import ctypes
ctypes.CDLL(None).puts(b"held back by C")
sys.stderr.write("no end")
"""
    )
    assert (stderr, code) == ("", 0)
    assert sorted((one["logger"], one["level"], one["message"]) for one in told) == [
        ("here", "info", "ours"),
        ("native", "warning", "tensorflow/a.cc:9: native"),
        ("stderr", "warning", "another"),
        ("stderr", "warning", "no end"),
        ("stdout", "warning", "a child"),
        ("stdout", "warning", "a print"),
        ("stdout", "warning", "bad bytes \\xff\x1b"),
        ("stdout", "warning", "held back by C"),
    ]


def test_information_of_native_libraries_is_told_at_debug_only() -> None:
    script = """
configure("json", LEVEL)
os.write(2, b"I0000 00:00:1.5 9 a.cc:1] on\\nlast words\\n")
"""
    told, _, _ = run(script.replace("LEVEL", "'error'"))
    assert [one["message"] for one in told] == ["last words"]
    told, _, _ = run(script.replace("LEVEL", "'debug'"))
    assert [one["message"] for one in told] == ["a.cc:1: on", "last words"]


def test_an_uncaught_exception_is_one_record() -> None:
    told, stderr, code = run("configure('json')\nraise KeyError('x')")
    assert (len(told), stderr, code) == (1, "", 1)
    assert told[0]["level"] == "critical"
    assert told[0]["exception"].endswith("KeyError: 'x'\n")


def test_a_flood_is_told_to_the_last_line_and_hangs_nobody() -> None:
    told, _, code = run(
        """
import threading
import time
configure("json")
def flood(n):
    for i in range(2000):
        os.write(2, b"native %d %d\\n" % (n, i))
        log.info("ours %d %d", n, i)
threads = [threading.Thread(target=flood, args=[n]) for n in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    )
    assert code == 0
    assert len({one["message"] for one in told}) == len(told) == 16_000


def test_a_library_that_holds_the_interpreter_may_write_half_a_mebibyte_at_once() -> None:
    """`ctypes.PyDLL` keeps the interpreter lock, so that the reading thread cannot run meanwhile."""
    told, _, code = run(
        """
import ctypes
configure("json")
ctypes.PyDLL(None).write(2, (b"x" * 99 + b"\\n") * 5000, 500_000)
"""
    )
    assert (code, len(told)) == (0, 5000)


def test_a_line_without_an_end_is_cut() -> None:
    told, _, _ = run("configure('json')\nos.write(2, b'x' * 200_000)")
    assert sum(len(one["message"]) for one in told) == 200_000
    assert max(len(one["message"]) for one in told) < 2**17


def test_closing_puts_the_descriptors_back_although_a_child_holds_the_pipe() -> None:
    told, stderr, code = run(
        """
import subprocess
before = os.listdir("/proc/self/fd")
logs = configure("json")
child = subprocess.Popen(["sleep", "20"])
log.info("ours")
logs.close()
os.write(2, b"raw")
print('{"printed": true}')
child.kill()
child.wait()
assert before == os.listdir("/proc/self/fd"), "no descriptor is left open"
"""
    )
    assert (stderr, code) == ("raw", 0)
    assert told[0]["message"] == "ours"
    assert told[1] == {"printed": True}


def test_a_crash_of_native_code_is_told_on_the_real_stderr() -> None:
    _, stderr, code = run("configure('json')\nimport faulthandler\nfaulthandler._sigabrt()")
    assert code < 0
    assert "Fatal Python error: Aborted" in stderr


def test_the_log_can_go_to_stderr() -> None:
    told, stderr, _ = run("configure('json', stream='stderr')\nlog.info('ours')\nprint('a print')")
    assert told == []
    assert {one["message"] for one in records(stderr)} == {"ours", "a print"}


def test_in_text_the_terminal_is_left_alone() -> None:
    told, stderr, _ = run("configure('text', stream='stderr')\nprint('{}')\nlog.info('ours')")
    assert told == [{}]
    assert stderr.endswith("INFO    here: ours\n")


def test_a_terminal_that_knows_ascii_only_still_gets_the_line() -> None:
    _, stderr, _ = run("configure('text', stream='stderr')\nlog.info('\\xfc')", PYTHONIOENCODING="ascii")
    assert stderr.endswith("here: \\xfc\n")
