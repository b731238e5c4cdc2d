"""One line per record, secrets masked; with JSON, native libraries' lines included.

`configure` is called once, before anything else of the service runs; `Logs.close` at the end, and
before an ``os._exit``. The service logs to stdout, as the twelve-factor app has it: the log is what
it produces, and whoever runs it decides where that goes. Commands whose answer stands on stdout
(``check``, ``demo``) log to stderr instead.
"""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import select
import sys
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Literal, Self

from consumer.logs.capture import Capture
from consumer.logs.formats import JsonFormatter, TextFormatter
from consumer.logs.masking import Secrets, mask_url, printable, secrets_of
from consumer.logs.native import read_line
from consumer.logs.repeats import Repeats

Format = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]
Stream = Literal["stdout", "stderr"]

log = logging.getLogger(__name__)

QUIET: Final = {
    "uvicorn": logging.WARNING,  # its access lines would hold the URLs that were asked for
    "urllib3": logging.ERROR,  # the same; what a fetch comes to is told by its outcome
    "PIL": logging.WARNING,
    "asyncio": logging.WARNING,
    "tensorflow": logging.WARNING,
    "h5py": logging.WARNING,
}
"""Loggers of others whose lower levels are noise or indiscreet, whatever LOG_LEVEL is."""


def kafka_logger() -> logging.Logger:
    """What to give to Kafka clients (``Consumer(conf, logger=kafka_logger())``): else librdkafka writes to stderr."""
    return logging.getLogger("librdkafka")


def configure(
    log_format: Format | None = None,
    level: Level = "info",
    *,
    secrets: Iterable[str] = (),
    stream: Stream = "stdout",
    capture: bool | None = None,
) -> Logs:
    """Sends the records of all loggers to one stream, one line each.

    Args:
        log_format: ``text`` or ``json``; null is text on a terminal, else JSON.
        level: the least severity that is told.
        secrets: values that are starred out wherever they stand, see `secrets_of`.
        stream: where the lines go.
        capture: whether what native code and ``print`` write to descriptors 1 and 2 becomes records
            too; null captures exactly with JSON. Without it a command can draw on the terminal.
    """
    return Logs(log_format, level, Secrets(secrets), stream, capture)


class Logs:
    """The logging that `configure` set up, until it is closed; then everything is as it was before."""

    def __init__(
        self, log_format: Format | None, level: Level, secrets: Secrets, stream: Stream, capture: bool | None
    ) -> None:
        terminal = _is_terminal(stream)
        log_format = log_format or ("text" if terminal else "json")
        colour = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._formatter = JsonFormatter(secrets) if log_format == "json" else TextFormatter(secrets, colour)
        self._level = logging.getLevelNamesMapping()[level.upper()]
        self._closed = False

        self._out: _PythonStream | _Descriptor
        self._captured: Capture | None = None
        if capture if capture is not None else log_format == "json":
            self._out = _Descriptor(1 if stream == "stdout" else 2)
            self._captured = Capture(self._tell_native)
        else:
            self._out = _PythonStream(stream)
        # A crash of native code is told by faulthandler alone, without the interpreter: so straight to stderr.
        self._had_faulthandler = faulthandler.is_enabled()
        if self._captured is not None:
            faulthandler.enable(file=self._captured.real(2))

        self._handler = _Handler(self._formatter, self._out.write)
        self._handler.setLevel(self._level)
        logging.getLogger().addHandler(self._handler)
        levels = {"": self._level} | {name: max(level, self._level) for name, level in QUIET.items()}
        self._levels_before = {name: logging.getLogger(name).level for name in levels}
        _set_levels(levels)
        logging.captureWarnings(True)
        self._hooks_before = sys.excepthook, threading.excepthook, sys.unraisablehook
        sys.excepthook, threading.excepthook, sys.unraisablehook = _uncaught, _uncaught_in_thread, _unraisable
        atexit.register(self.close)

    def close(self) -> None:
        """Tells what is left, and puts back what was there. Any number of times."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        sys.excepthook, threading.excepthook, sys.unraisablehook = self._hooks_before
        logging.captureWarnings(False)
        if self._captured is not None:
            faulthandler.disable()
            if self._had_faulthandler and sys.__stderr__ is not None:
                faulthandler.enable(file=sys.__stderr__)
            self._captured.close()
        logging.getLogger().removeHandler(self._handler)
        _set_levels(self._levels_before)
        self._out.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _tell_native(self, stream: str, line: str) -> None:
        """Runs on the thread that reads what was captured, and takes no lock of `logging`."""
        told = read_line(stream, line)
        level = logging.WARNING if told.level is None else told.level
        if told.level is None or level >= self._level:
            record = logging.LogRecord(told.logger, level, "", 0, told.message, None, None)
            self._out.write(self._formatter.format(record))


class _Handler(logging.Handler):
    """Formats without a lock, so that a slow ``__str__`` holds nobody up; writing has a lock of its own."""

    def __init__(self, formatter: logging.Formatter, write: Callable[[str], None]) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._write = write

    def createLock(self) -> None:
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a record that cannot be told must not end whoever told it
            where = f"{os.path.basename(record.pathname)}:{record.lineno}"
            text = f"the record logged at {where} cannot be told: {type(error).__name__}"
            line = self.format(logging.LogRecord(record.name, record.levelno, "", 0, text, None, None))
        self._write(line)


class _PythonStream:
    """Writes to what ``sys.stdout`` or ``sys.stderr`` is at the time, so that a progress bar can stand in its way."""

    def __init__(self, name: Stream) -> None:
        self._name = name
        self._lock = threading.RLock()

    def write(self, line: str) -> None:
        stream = getattr(sys, self._name)
        if stream is None:
            return
        encoding = getattr(stream, "encoding", None) or "utf-8"
        try:
            with self._lock:
                stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
                stream.flush()
        except (OSError, ValueError):
            return  # nobody reads it any more, or it is closed: the service goes on without its log

    def close(self) -> None:
        """Nothing is ours."""


class _Descriptor:
    """Writes to what descriptor 1 or 2 was when this was made.

    The lock is reentrant, since a signal handler may log while its thread is writing.
    """

    def __init__(self, standard: int) -> None:
        self._standard = standard
        self._fd = os.dup(standard)
        self._lock = threading.RLock()

    def write(self, line: str) -> None:
        left = (line + "\n").encode("utf-8", "backslashreplace")
        with self._lock:
            while left:
                try:
                    left = left[os.write(self._fd, left) :]
                except BlockingIOError:  # whoever shares it with us made it non-blocking
                    select.select([], [self._fd], [])
                except OSError:
                    return  # nobody reads it any more: the service goes on without its log

    def close(self) -> None:
        """From now on a late line goes to the standard descriptor, which is itself again."""
        with self._lock:
            os.close(self._fd)
            self._fd = self._standard


def _is_terminal(stream: Stream) -> bool:
    there = getattr(sys, stream)
    return there is not None and there.isatty()


def _set_levels(levels: dict[str, int]) -> None:
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        log.critical("an exception that nobody expected ends the process", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        name = args.thread.name if args.thread else "unknown"
        told = args.exc_type, args.exc_value, args.exc_traceback
        log.critical("an exception that nobody expected ended the thread %s", name, exc_info=told)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    if args.exc_value is not None:
        told = args.exc_type, args.exc_value, args.exc_traceback
        log.error("%s: %r", args.err_msg or "an exception was ignored in", args.object, exc_info=told)


__all__ = ["Format", "Level", "Logs", "Repeats", "configure", "kafka_logger", "mask_url", "printable", "secrets_of"]
