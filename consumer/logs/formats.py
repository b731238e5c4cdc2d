"""One line per record, whatever is in it: as JSON for machines, as text for people."""

from __future__ import annotations

import json
import logging
import math
import os
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from consumer.logs.masking import Secrets, mask_urls, printable

BUILT_IN: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
"""What every record has, and what uvicorn adds for its own colours; all else came through ``extra=``."""

COLOURS: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
"""Level → SGR parameters: dim, green, yellow, red, bold red."""


class JsonFormatter(logging.Formatter):
    """One JSON object: ``time`` (RFC 3339, UTC, milliseconds), ``level``, ``logger``, ``message``, the fields
    given through ``extra=`` and, if there is one, the whole ``exception`` as a string. ASCII only, so that
    no reader finds a line break in it that we do not."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line without its end."""
        fields: dict[str, Any] = {
            "time": rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1]:
            fields["exception"] = mask_urls("".join(traceback.format_exception(record.exc_info[1])))
        if record.stack_info:
            fields["stack"] = record.stack_info
        for name, value in extras(record).items():
            fields[f"{name}_" if name in fields else name] = value
        return json.dumps(_told(fields, self._secrets), allow_nan=False)


class TextFormatter(logging.Formatter):
    """``TIME LEVEL LOGGER: MESSAGE name=value …``; an exception is its type, text and frames, innermost first."""

    def __init__(self, secrets: Secrets, colour: bool) -> None:
        super().__init__()
        self._secrets = secrets
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line without its end."""
        text = record.getMessage()
        for name, value in extras(record).items():
            told = _told(value, self._secrets)
            plain = isinstance(told, str) and told != "" and " " not in told
            text += f" {name}={told if plain else json.dumps(told, ensure_ascii=False)}"
        if record.exc_info and record.exc_info[1]:
            text += " | " + mask_urls(brief(record.exc_info[1]))
        if record.stack_info:
            text += " | " + record.stack_info
        level = f"{record.levelname:<7}"
        if self._colour:
            level = f"\x1b[{COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        return f"{rfc3339(record.created)} {level} {printable(record.name)}: {printable(self._secrets.mask(text))}"


def extras(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller gave through ``extra=``."""
    return {name: value for name, value in record.__dict__.items() if name not in BUILT_IN}


def _told(value: Any, secrets: Secrets) -> Any:
    """A value in JSON's own types, the secrets masked before anything is quoted or escaped."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {secrets.mask(str(name)): _told(one, secrets) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_told(one, secrets) for one in value]
    return secrets.mask(str(value))


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as ``2026-11-24T08:12:58.123Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def brief(error: BaseException, frames: int = 8, causes: int = 4) -> str:
    """An exception on one line: ``KeyError: 'x' [a.py:3 f < b.py:9 g], from OSError: …``."""
    told: list[str] = []
    one: BaseException | None = error
    while one is not None and len(told) < causes:
        where = traceback.extract_tb(one.__traceback__)[::-1][:frames]
        stack = " < ".join(f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in where)
        told.append(f"{type(one).__qualname__}: {one}" + (f" [{stack}]" if stack else ""))
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return ", from ".join(told)
