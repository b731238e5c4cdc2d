"""Where events come from: arguments, text, JSON lines, CSV. One bad line never stops the others."""

from __future__ import annotations

import csv
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from consumer.codec import event_of, strict_json
from consumer.errors import EventUnreadable, SettingsError
from consumer.events import ImageUrl
from producer_tools.lines import Lines

Kind = Literal["text", "csv", "jsonl"]
T = TypeVar("T")

KINDS: dict[str, Kind] = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
"""What a file's name says of its form; any other file is text."""

FIELDS = ("event_id", "url", "requested_at", "key")
"""CSV columns that are not attributes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event that is to be published, and its record's key."""

    event: ImageUrl
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """What holds no event that could be published: where it stands, and why."""

    where: str
    why: str


def kind_of(name: str) -> Kind:
    """The form that a file's name promises."""
    return KINDS.get(Path(name).suffix.lower(), "text")


def from_urls(urls: Iterable[str], key: str | None = None) -> Iterator[Entry | BadLine]:
    """One event for each URL, whatever it looks like: what a bad one comes to is for the service to say."""
    for number, url in enumerate(urls, 1):
        try:
            yield _entry({"url": url}, key)
        except (ValueError, EventUnreadable) as error:
            yield BadLine(f"URL {number}", str(error))


def read(lines: Lines, kind: Kind, key: str | None = None) -> Iterator[Entry | BadLine]:
    """The events of a file.

    - ``text``: a URL on each line, or a JSON event; empty lines and those that begin with ``#`` are skipped.
    - ``jsonl``: a JSON object on each line, in the form of the input topic, and perhaps with a ``key``.
    - ``csv``: a header with a ``url`` column; ``event_id``, ``requested_at`` and ``key`` are what they say,
      every other column is an attribute unless its cell is empty. Separated by commas, semicolons or tabs.

    An event without an id is given one, and the time if it has none.

    Args:
        lines: the file.
        kind: its form.
        key: the record's key: ``none``, ``url``, ``event_id``, ``host`` or the name of an attribute; by
            default the event's own ``key``, if it has one.

    Raises:
        SettingsError: a CSV header that cannot be used.
    """
    return _read_csv(lines, key) if kind == "csv" else _read_lines(lines, key, urls=kind == "text")


def _read_lines(lines: Lines, key: str | None, *, urls: bool) -> Iterator[Entry | BadLine]:
    def entry_of(line: str) -> Entry | None:
        text = line.strip()
        if not text or (urls and text.startswith("#")):
            return None
        is_url = urls and not text.startswith("{")
        return _entry({"url": text} if is_url else strict_json.decode(text.encode()), key)

    return _each(lines, lines, entry_of)


def _read_csv(lines: Lines, key: str | None) -> Iterator[Entry | BadLine]:
    try:
        header = next(lines, "")
        delimiter = max(",;\t", key=header.count)
        columns = [column.strip() for column in next(csv.reader([header], delimiter=delimiter), [])]
    except (csv.Error, ValueError) as error:
        raise SettingsError(f"the CSV file's first line cannot be read: {error}") from None
    if "url" not in columns:
        raise SettingsError("the CSV file's first line must name its columns, one of them url")
    if len(set(columns)) < len(columns) or "" in columns:
        raise SettingsError("the CSV file's first line must name every column, each once")

    def entry_of(row: list[str]) -> Entry | None:
        return _entry(_fields(columns, row), key) if row else None

    return _each(csv.reader(lines, delimiter=delimiter, strict=True), lines, entry_of)


def _each(source: Iterator[T], lines: Lines, entry_of: Callable[[T], Entry | None]) -> Iterator[Entry | BadLine]:
    """Turns each thing into its entry; null skips it, an error is the line's own."""
    while True:
        try:
            entry = entry_of(next(source))
        except StopIteration:
            return
        except (csv.Error, ValueError, EventUnreadable) as error:
            yield BadLine(f"line {lines.number}", str(error))
        else:
            if entry is not None:
                yield entry


def _fields(columns: list[str], row: list[str]) -> dict[str, Any]:
    if len(row) != len(columns):
        raise ValueError(f"it has {len(row)} cells and the first line {len(columns)}")
    cells = {column: cell for column, cell in zip(columns, row, strict=True) if cell}
    fields: dict[str, Any] = {name: cells.pop(name) for name in FIELDS if name in cells}
    at = fields.get("requested_at", "")
    if at.isascii() and at.isdigit() and len(at) < 20:
        fields["requested_at"] = int(at)
    return fields | {"attributes": cells}


def _entry(fields: dict[str, Any], choice: str | None) -> Entry:
    own_key = fields.get("key")
    if not isinstance(own_key, str | None):
        raise ValueError("its key is not a string")  # noqa: TRY004 - the line's content is wrong, not our type
    event = event_of(fields, str(uuid.uuid4()))
    if event.requested_at is None:
        event = replace(event, requested_at=time.time_ns() // 1_000_000)
    key = own_key if choice is None else _key(event, choice)
    return Entry(event, None if key is None else key.encode())  # UnicodeEncodeError is a ValueError too


def _key(event: ImageUrl, choice: str) -> str | None:
    if choice == "host":
        host = urlsplit(event.url).hostname  # ValueError for [::1 and its like
        if not host:
            raise ValueError("its url has no host that could be the key")
        return host
    fixed = {"none": None, "url": event.url, "event_id": event.event_id}
    if choice in fixed:
        return fixed[choice]
    if choice not in event.attributes:
        raise ValueError(f"it has no attribute {choice} that could be the key")
    return event.attributes[choice]
