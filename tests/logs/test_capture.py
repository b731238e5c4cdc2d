"""What native libraries write is in the log too, and nothing of it is lost."""

from __future__ import annotations

import logging

import pytest

from consumer.logs.native import read_line
from tests.logs.reading import records, run


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
