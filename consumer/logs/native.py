"""Reading the lines that native libraries write: how severe they are, and what they say."""

from __future__ import annotations

import logging
import re
from typing import Final, NamedTuple

_LETTERS: Final = {"I": logging.DEBUG, "W": logging.WARNING, "E": logging.ERROR, "F": logging.CRITICAL}
"""Severities of glog and absl. Their information is noise to whoever runs the service, so it is debug."""

_GLOG = re.compile(r"(?P<letter>[IWEF])\d{4} [\d:.]+ +\d+ (?P<source>[^\]\s]+:\d+)\] (?P<message>.*)", re.DOTALL)
_TENSORFLOW = re.compile(
    r"\d{4}-\d\d-\d\d [\d:.]+: (?P<letter>[IWEF]) (?P<source>[^\]\s]+:\d+)\] (?P<message>.*)", re.DOTALL
)
_ABSL_GREETING = "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR"
_LIBRDKAFKA = re.compile(r"%(?P<digit>[0-7])\|[\d.]+\|(?P<facility>\w+)\|(?P<message>.*)", re.DOTALL)


class NativeLine(NamedTuple):
    """``level`` is null where the line does not tell: then it is kept whatever LOG_LEVEL is, since the last
    words of a process ("terminate called after …") look like that."""

    logger: str
    level: int | None
    message: str


def read_line(stream: str, line: str) -> NativeLine:
    """Reads a line that was written to ``stdout`` or ``stderr``.

    It knows glog and absl (``I0000 00:00:1795508389.596600 28734 port.cc:153] …``), TensorFlow's own
    form (``2026-11-24 08:12:58.123456: W tensorflow/…/x.cc:9] …``) and librdkafka's
    (``%3|1795508389.596|FAIL|rdkafka#producer-1| …``, where 3 is syslog's number).
    """
    if match := _GLOG.fullmatch(line) or _TENSORFLOW.fullmatch(line):
        return NativeLine("native", _LETTERS[match["letter"]], f"{match['source']}: {match['message']}")
    if line == _ABSL_GREETING:
        return NativeLine("native", logging.DEBUG, line)
    if match := _LIBRDKAFKA.fullmatch(line):
        return NativeLine("librdkafka", _syslog(int(match["digit"])), f"{match['facility']} {match['message']}")
    return NativeLine(stream, None, line)


def _syslog(severity: int) -> int:
    """0 emergency, 1 alert, 2 critical; 3 error; 4 warning; 5 notice, 6 information; 7 debug."""
    if severity <= 2:
        return logging.CRITICAL
    return {3: logging.ERROR, 4: logging.WARNING, 7: logging.DEBUG}.get(severity, logging.INFO)
