"""`image-tools publish`: events to the input topic, with what became of each counted."""

from __future__ import annotations

import argparse
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import BinaryIO, Literal

from confluent_kafka import KafkaError, KafkaException, Producer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from consumer.codec import encode_event
from consumer.errors import SettingsError
from consumer.settings import Settings
from producer_tools import sources
from producer_tools.connection import open_producer
from producer_tools.lines import Lines
from producer_tools.numbers import rate
from producer_tools.sources import BadLine, Entry
from producer_tools.terminal import Complaints, say, stderr

SUMMARY = "publish image-URL events from arguments or a file, and report what was delivered"
EXAMPLES = """examples:
  image-tools publish https://example.com/a.jpg https://example.com/b.jpg
  image-tools publish --file urls.txt                 # one URL a line, # comments
  image-tools publish --file products.csv --key shop  # a url column; the others are attributes
  image-tools publish --file events.jsonl --rate 50   # {"url": …, "event_id": …, "attributes": {…}, "key": …}
  shuf urls.txt | image-tools publish --file -"""

LAST_WAIT_S = 10.0
"""After Ctrl-C, how long what was sent already may take to arrive."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("urls", nargs="*", metavar="URL", help="one event for each; - reads lines from stdin")
    parser.add_argument("--file", metavar="F", help="text, CSV or JSON lines, by its name's ending; - for stdin")
    parser.add_argument("--input", choices=("text", "csv", "jsonl"), help="form of the file, if its name does not say")
    parser.add_argument(
        "--key", metavar="K", help="record key: none, url, event_id, host or an attribute (default: the event's key)"
    )
    parser.add_argument("--format", choices=("json", "avro"), default="json", help="form of the events (default: json)")
    parser.add_argument("--rate", type=rate, metavar="N", help="at most N events a second")
    parser.add_argument("--topic", metavar="T", help="topic to publish to (default: INPUT_TOPIC)")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Publishes everything that was named; 0 only if all of it was delivered."""
    urls = [url for url in options.urls if url != "-"]
    name = "-" if "-" in options.urls else options.file
    if not urls and name is None:
        raise SettingsError("nothing to publish: name URLs, --file FILE, or - for stdin")
    topic = options.topic or settings.input_topic
    with _opened(name) as file:
        lines = Lines(file) if file else None
        entries = sources.from_urls(urls, options.key)
        if lines:
            entries = chain(entries, sources.read(lines, options.input or sources.kind_of(name), options.key))
        publisher = Publisher(open_producer(settings, topic), topic, options.format)
        console = stderr()
        complaints = Complaints(console)
        with _progress(console) as bar:
            task = bar.add_task("", total=_size(file) if file else len(urls))

            def tick() -> None:
                done = lines.bytes_read if lines else publisher.sent
                bar.update(task, completed=done, description=f"{publisher.delivered} delivered")

            finished = _publish(publisher, entries, options.rate, complaints, tick)
    complaints.close()
    where = f"{topic} at {settings.kafka.bootstrap_servers}"
    return _report(publisher, console, where, complaints.count, finished=finished)


class Publisher:
    """Sends events and counts what becomes of them, in flat memory."""

    def __init__(self, producer: Producer, topic: str, output_format: Literal["avro", "json"]) -> None:
        self._producer = producer
        self._topic = topic
        self._format = output_format
        self.sent = 0
        self.delivered = 0
        self.failed: Counter[str] = Counter()
        """The broker's or the client's reason → how many."""

    def send(self, entry: Entry) -> None:
        """Hands one event to the producer; waits where its queue is full."""
        value = encode_event(entry.event, self._format)
        self.sent += 1
        while True:
            try:
                self._producer.produce(self._topic, value=value, key=entry.key, on_delivery=self._note)
            except BufferError:
                self._producer.poll(0.1)
                continue
            except KafkaException as error:
                self.failed[error.args[0].str()] += 1
            self._producer.poll(0)
            return

    def idle(self, seconds: float) -> None:
        """Lets time pass, with an ear for deliveries."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._producer.poll(left)

    def wait(self, seconds: float) -> bool:
        """Waits until everything sent is delivered or failed, so long at most; true when nothing is out."""
        return int(self._producer.flush(seconds)) == 0

    def abandon(self) -> None:
        """Counts what is still out as failed."""
        self._producer.purge()
        self._producer.flush(1)

    def _note(self, error: KafkaError | None, _message: object) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.failed[error.str()] += 1


def _publish(
    publisher: Publisher,
    entries: Iterable[Entry | BadLine],
    rate_per_s: float | None,
    complaints: Complaints,
    tick: Callable[[], None],
) -> bool:
    """Sends all entries, ``rate_per_s`` a second, and waits for the last one; false if Ctrl-C came before."""
    next_at = time.monotonic()
    try:
        for entry in entries:
            if isinstance(entry, BadLine):
                complaints.add(f"{entry.where}: {entry.why}")
                continue
            if rate_per_s:
                publisher.idle(next_at - time.monotonic())
                next_at = max(
                    next_at + 1 / rate_per_s, time.monotonic() - 1
                )  # what was missed is made up, a second of it
            publisher.send(entry)
            tick()
        while not publisher.wait(0.2):
            tick()
    except KeyboardInterrupt:
        complaints.tell("interrupted: waiting for what was sent already")
        publisher.wait(LAST_WAIT_S)
        publisher.abandon()
        return False
    return True


def _report(publisher: Publisher, console: Console, where: str, bad: int, *, finished: bool) -> int:
    for reason, count in publisher.failed.most_common():
        say(console, f"{count} failed: {reason}")
    failed = publisher.failed.total()
    unread = f", {bad} not readable" if bad else ""
    print(f"{publisher.delivered} delivered to {where}, {failed} failed{unread}")
    return 0 if finished and not failed and not bad else 1


@contextmanager
def _opened(name: str | None) -> Iterator[BinaryIO | None]:
    if name is None or name == "-":
        yield sys.stdin.buffer if name else None
        return
    try:
        file = open(name, "rb")  # noqa: SIM115 - closed below; only the opening is a matter of settings
    except OSError as error:
        raise SettingsError(f"{name} cannot be read: {error.strerror}") from None
    with file:
        yield file


def _size(file: BinaryIO) -> int | None:
    """Bytes of a regular file; null for a pipe, whose end nobody knows."""
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _progress(console: Console) -> Progress:
    columns = (TextColumn("publishing"), BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
    return Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal, transient=True)
