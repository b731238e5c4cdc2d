"""`image-tools watch`: the outcomes as they come, for people and for pipes."""

from __future__ import annotations

import argparse
import json
import math
import time
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from rich.console import Console
from rich.text import Text

from consumer.codec import decode_prediction
from consumer.errors import BrokerError
from consumer.logs import printable
from consumer.settings import Settings
from consumer.stream.clients import Troubles
from producer_tools.connection import open_consumer
from producer_tools.numbers import positive, seconds
from producer_tools.terminal import Complaints, say, stderr

SUMMARY = "follow the outcomes: time, partition@offset, labels with probabilities or the error, URL"
EXAMPLES = """examples:
  image-tools watch                                     # from now on, until Ctrl-C
  image-tools watch --from-beginning --failed
  image-tools watch --limit 100 --timeout 60            # exit code 1 if fewer came in a minute
  image-tools watch --format json | jq .labels          # one record a line

Reads what is committed and commits nothing itself; new partitions are found within 10 s."""

NEW_PARTITIONS_S = 10.0
"""How often the topic is asked for partitions that it did not have before."""

LOST = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART)
"""Errors in a message's place that waiting does not cure."""

ASK_S = 5.0
"""How long the broker may take for an answer."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument(
        "--from-beginning", action="store_true", help="begin with the oldest outcome, not with the next"
    )
    parser.add_argument("--failed", action="store_true", help="show failures only")
    parser.add_argument("--limit", type=positive, metavar="N", help="end after N outcomes were shown")
    parser.add_argument("--timeout", type=seconds, metavar="S", help="end after S seconds")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="text or JSON lines (default: text)")
    parser.add_argument("--topic", metavar="T", help="topic to follow (default: OUTPUT_TOPIC)")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Shows outcomes until the limit, the time-out or Ctrl-C.

    Returns:
        1 if fewer came than the limit asks for, or a record was no outcome; else 0.
    """
    topic = options.topic or settings.output_topic
    console = stderr()
    complaints = Complaints(console)
    consumer, troubles, partitions = open_consumer(settings, topic)
    try:
        follower = Follower(consumer, topic, partitions, from_beginning=options.from_beginning)
        whence = "the beginning" if options.from_beginning else "now"
        say(console, f"watching {topic} at {settings.kafka.bootstrap_servers} from {whence}; Ctrl-C ends")
        enough = _show(options, follower, Outages(console, troubles), complaints)
    except KeyboardInterrupt:
        enough = True
    finally:
        consumer.close()
        complaints.close()
    return 0 if enough and not complaints.count else 1


def _show(options: argparse.Namespace, follower: Follower, outages: Outages, complaints: Complaints) -> bool:
    """Shows outcomes until the limit or the time-out; whether there were as many as the limit asks for."""
    out = Console(highlight=False)
    shown = 0
    until = math.inf if options.timeout is None else time.monotonic() + options.timeout
    while (left := until - time.monotonic()) > 0:
        messages = follower.messages(min(left, 0.2))
        outages.look(alive=bool(messages))
        for message in messages:
            where = f"{message.partition()}@{message.offset()}"
            try:
                outcome = _outcome_in(message)
            except ValueError as error:
                complaints.add(f"{where} is no outcome: {error}")
                continue
            if options.failed and outcome["error"] is None:
                continue
            if options.format == "json":
                out.file.write(json.dumps(outcome, ensure_ascii=False) + "\n")
            else:
                out.print(line(where, outcome), soft_wrap=True)
            shown += 1
            if shown == options.limit:
                out.file.flush()
                return True
        out.file.flush()
    return options.limit is None


def _outcome_in(message: Message) -> dict[str, Any]:
    if error := message.error():
        raise ValueError(error.str())
    return decode_prediction(message.value() or b"")


class Outages:
    """Says once that the broker is away, and again only after it was back."""

    def __init__(self, console: Console, troubles: Troubles) -> None:
        self._console = console
        self._troubles = troubles
        self._seen = troubles.last
        self._told = False

    def look(self, *, alive: bool) -> None:
        """To be called after every read; ``alive`` if something came."""
        self._told = self._told and not alive
        if self._troubles.last != self._seen:
            self._seen = self._troubles.last
            if not self._told:
                say(self._console, f"still trying: {self._seen}")
            self._told = True


class Follower:
    """Reads every partition of a topic from a chosen point, and those that are added from their beginning."""

    def __init__(self, consumer: Consumer, topic: str, partitions: int, *, from_beginning: bool) -> None:
        self._consumer = consumer
        self._topic = topic
        self._known = partitions
        self._asked_at = time.monotonic()
        # The end is looked up here and now: what is published once this returns will be seen.
        offsets = [OFFSET_BEGINNING if from_beginning else self._end(number) for number in range(partitions)]
        consumer.assign([TopicPartition(topic, number, offset) for number, offset in enumerate(offsets)])

    def messages(self, wait_s: float) -> list[Message]:
        """What has come, waiting at most so long for the first of it.

        Raises:
            BrokerError: the topic has gone, or may not be read.
        """
        if time.monotonic() - self._asked_at > NEW_PARTITIONS_S:
            self._find_new()
        messages: list[Message] = self._consumer.consume(500, wait_s)
        for message in messages:
            error = message.error()
            if error is not None and error.code() in LOST:
                raise BrokerError(f"topic {self._topic!r} cannot be read: {error.str()}")
        return messages

    def _end(self, number: int) -> int:
        try:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, number), timeout=ASK_S)
        except KafkaException as error:
            raise BrokerError(f"topic {self._topic!r} cannot be read: {error.args[0].str()}") from None
        return int(high)

    def _find_new(self) -> None:
        self._asked_at = time.monotonic()
        try:
            count = len(self._consumer.list_topics(self._topic, timeout=ASK_S).topics[self._topic].partitions)
        except KafkaException:  # the broker is away, which the callback tells; the next time is as good
            return
        new = range(self._known, count)
        if new:
            self._consumer.incremental_assign([TopicPartition(self._topic, one, OFFSET_BEGINNING) for one in new])
            self._known = count


def line(where: str, outcome: dict[str, Any]) -> Text:
    """One outcome as a line for people."""
    parts: list[str | tuple[str, str]] = [(_time(outcome["predicted_at"]), "dim"), f"  {where:<10}  "]
    error = outcome["error"]
    if error is not None:
        parts += [(printable(error["code"]), "bold red"), f"  {printable(error['message'])}"]
    for task, label in outcome["labels"].items():
        probability = outcome["predictions"].get(task, {}).get(label, math.nan)
        parts += [(printable(task), "dim"), " ", (printable(label), "bold"), f" {probability:.2f}  "]
    return Text.assemble(*parts, "" if error is None else "  ", printable(outcome["url"]))


def _time(millis: int) -> str:
    try:
        return datetime.fromtimestamp(millis / 1000, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError, OSError):  # a stranger's number
        return str(millis)
