"""`image-consumer demo`: the whole system in one process, and whether it got the answers right.

An embedded broker, an image server that draws garments, and the service itself, as `run` would start
it. Events are published for pictures whose truth is known; their outcomes are read back from the
output topic like any subscriber would, and told beside the truth.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from consumer import logs
from consumer.codec import decode_prediction
from consumer.demo.images import ImageServer, Picture
from consumer.errors import ServiceError
from consumer.kafka_settings import EMBEDDED, KafkaSettings
from consumer.service import Service
from consumer.settings import Settings
from consumer.signals import Starting, StopRequest

ACCURACY = 0.95
"""Least share of right answers in each task: what the shipped model keeps on drawings that it never saw."""

WAIT_S = 120.0
"""Longest wait without any new outcome; the first one needs the group to be joined, 3 s."""

ROWS = 12
"""Pictures in the table; the totals count all."""


def run_demo(settings: Settings, asked: StopRequest, starting: Starting, *, events: int, keep_running: bool) -> int:
    """Runs the demo; returns 0 only if every event came out and the accuracy holds."""
    # The demo itself speaks on stdout; the log, on stderr, tells errors, unless LOG_LEVEL asks for more.
    logs.configure("text", "error" if settings.log_level == "info" else settings.log_level, stream="stderr")
    console = Console(highlight=False)
    with ImageServer() as images, Service(_local(settings, images)) as service:
        with console.status("loading the model and starting a broker …"):
            if not service.start(asked, joining=starting.over):
                return 1
        stopper = threading.Thread(target=_wait, args=(service, asked), name="wait")
        stopper.start()
        try:
            broker = service.settings.kafka.bootstrap_servers
            _tell_places(console, service, images, broker)
            pictures = images.pictures(events)
            began = time.monotonic()
            outcomes = _publish_and_read(console, service.settings, pictures, asked)
            seconds = time.monotonic() - began
            if asked.is_set():
                console.print("stopped")
                return 1
            good = _tell_results(console, pictures, outcomes, seconds)
            if keep_running and not asked.is_set():
                _tell_commands(console, service, images, broker)
                asked.wait()
        finally:
            asked.set()
            stopper.join()
    return 0 if good else 1


def _local(settings: Settings, images: ImageServer) -> Settings:
    """The user's settings, but with the embedded broker, our own image server, and a free port if need be."""
    port = int(images.url.rsplit(":", 1)[1])
    local = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    return replace(
        settings,
        kafka=KafkaSettings({"bootstrap.servers": EMBEDDED}),
        delivery="at-least-once",
        model_path=None,  # the shipped one: another would not know what garments are called
        fetch_allow_nets=(*settings.fetch_allow_nets, *local),
        fetch_allow_hosts=(),
        fetch_allow_ports=None if settings.fetch_allow_ports is None else settings.fetch_allow_ports | {port},
        fetch_per_host=max(settings.fetch_per_host, 16),
        http_port=settings.http_port if _is_free(settings.http_host, settings.http_port) else 0,
    )


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _wait(service: Service, asked: StopRequest) -> None:
    try:
        service.wait(asked)
    except ServiceError as error:
        sys.stderr.write(f"image-consumer: {error}\n")
    finally:
        asked.set()


def _tell_places(console: Console, service: Service, images: ImageServer, broker: str) -> None:
    settings = service.settings
    console.print(
        f"broker  {broker}   (embedded; topics {settings.input_topic}, {settings.output_topic}, "
        f"{settings.dead_letter_topic})",
        f"images  {images.url}/   (drawn garments, a sheet of them)",
        f"HTTP    {service.url}/docs   (also /status, /predict/?url=…, /livez, /readyz, /metrics)",
        sep="\n",
        soft_wrap=True,
    )


def _tell_commands(console: Console, service: Service, images: ImageServer, broker: str) -> None:
    console.print(
        "\nStill running, until Ctrl-C. In another terminal (with .venv/bin in front of each, if it is not active):",
        f"  KAFKA_BOOTSTRAP_SERVERS={broker} image-tools watch",
        f"  KAFKA_BOOTSTRAP_SERVERS={broker} image-tools publish {images.url}/garment/123456.jpg {images.url}/none.jpg",
        f"  curl '{service.url}/predict/?url={images.url}/garment/123456.jpg'",
        f"  curl {service.url}/metrics",
        f"and in a browser: {service.url}/status, {service.url}/docs",
        sep="\n",
        soft_wrap=True,
    )


def _publish_and_read(
    console: Console, settings: Settings, pictures: list[Picture], asked: StopRequest
) -> dict[str, dict[str, Any]]:
    """Publishes an event for each picture and collects the outcomes: URL → record."""
    broker = {"bootstrap.servers": settings.kafka.bootstrap_servers, "log_level": 3}
    producer = Producer(broker)
    subscriber = {
        "group.id": f"demo-{uuid.uuid4()}",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 10,
    }
    with closing(Consumer(broker | subscriber)) as reader:
        metadata = reader.list_topics(settings.output_topic, timeout=10)
        partitions = metadata.topics[settings.output_topic].partitions
        reader.assign([TopicPartition(settings.output_topic, one, OFFSET_BEGINNING) for one in partitions])
        for number, picture in enumerate(pictures):
            event = {"event_id": f"demo-{number}", "url": picture.url, "attributes": {"product": f"garment-{number}"}}
            producer.produce(settings.input_topic, key=f"garment-{number}", value=json.dumps(event))
        producer.flush(10)
        return _read(console, reader, len(pictures), asked)


def _read(console: Console, reader: Consumer, total: int, asked: StopRequest) -> dict[str, dict[str, Any]]:
    """Outcomes as they come, with a progress bar, until all are here, none comes any more, or it was asked to stop."""
    outcomes: dict[str, dict[str, Any]] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("outcomes", total=total)
        until = time.monotonic() + WAIT_S
        while len(outcomes) < total and not asked.is_set() and time.monotonic() < until:
            message = reader.poll(0.2)
            if message is None or message.error() is not None:
                continue
            outcome = decode_prediction(cast(bytes, message.value()))
            outcomes[outcome["url"]] = outcome
            progress.update(bar, completed=len(outcomes))
            until = time.monotonic() + WAIT_S
    return outcomes


def _tell_results(
    console: Console, pictures: list[Picture], outcomes: dict[str, dict[str, Any]], seconds: float
) -> bool:
    """The table and the totals; whether they are good."""
    shown = min(ROWS, len(pictures))
    table = Table("picture", "task", "truth", "prediction", "probability", box=None, pad_edge=False)
    tasks = list(pictures[0].truth)
    right: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for number, picture in enumerate(pictures):
        outcome = outcomes.get(picture.url)
        if outcome is not None and outcome["error"] is not None:
            failed[outcome["error"]["code"]] += 1
        for task in tasks:
            prediction, probability = _told(outcome, task)
            good = prediction == picture.truth[task]
            right[task] += good
            if number < shown:
                name = picture.url.rsplit("/", 1)[-1] if task == tasks[0] else ""
                style = "green" if good else "bold red"
                table.add_row(name, task, picture.truth[task], Text(prediction, style=style), probability)
    console.print(f"\nThe first {shown} of {len(pictures)}:")
    console.print(table)
    total = len(pictures)
    console.print(f"\n{len(outcomes)} of {total} events came out, {seconds:.1f} s after the first was published")
    for code, count in failed.items():
        console.print(f"{count} failed: {code}", style="red")
    for task in tasks:
        share = right[task] / total
        console.print(
            f"{task:10} {right[task]}/{total} right, {share:.1%}", style="green" if share >= ACCURACY else "red"
        )
    return len(outcomes) == total and all(right[task] / total >= ACCURACY for task in tasks)


def _told(outcome: dict[str, Any] | None, task: str) -> tuple[str, str]:
    """What the outcome says of a task: the label and its probability, or why there is none."""
    if outcome is None:
        return "nothing yet", ""
    if outcome["error"] is not None:
        return str(outcome["error"]["code"]), ""
    label = str(outcome["labels"][task])
    return label, f"{outcome['predictions'][task][label]:.2f}"
