"""``python -m ops.steady_load``: does the service stay as small as it is after its first minutes?

Starts an Apache Kafka, an image server and the service, each a process of its own; publishes events at
a steady rate, one in twenty of them for a picture that is not there; and looks every few seconds at the
service's memory, threads and file descriptors. After the warm-up none of them may grow.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import requests
from confluent_kafka import Producer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ops import tool
from ops.bench.processes import BenchError, started
from ops.bench.systems import await_answer
from ops.local_kafka import LocalKafka, LocalKafkaError
from ops.local_kafka.ports import free_ports

TOPICS = {"image-urls": 6, "image-predictions": 6, "image-urls.dead-letter": 1}
LOOK_EVERY_S = 5.0
PICTURES = 200
"""Different pictures: fewer than the image server caches, so that drawing them costs it nothing."""

MISSING_EVERY = 20
GROWTH_ALLOWED = 0.03
"""Of the memory, from the first quarter after the warm-up to the last: the allocator's arenas breathe by
1 or 2 %. A leak of 1 kB an event is 8 % in half an hour at 20 a second."""

SPREAD_ALLOWED = 4
"""Threads and descriptors between those quarters: idle connections come and go."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the service saw, so many seconds after the start."""

    at_s: float
    rss_mib: float
    threads: int
    descriptors: int
    events: int


def look(pid: int, began: float, url: str) -> Look:
    """Linux only: reads /proc."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines())
    return Look(
        at_s=time.monotonic() - began,
        rss_mib=int(status["VmRSS"].split()[0]) / 1024,
        threads=int(status["Threads"]),
        descriptors=len(os.listdir(f"/proc/{pid}/fd")),
        events=sum(counted(url).values()),
    )


def counted(url: str) -> dict[str, int]:
    """Committed events by outcome, as the service's metrics say."""
    text = requests.get(f"{url}/metrics", timeout=10).text
    lines = [line for line in text.splitlines() if line.startswith("image_consumer_events_total{")]
    return {line.split('"')[1]: round(float(line.rsplit(" ", 1)[1])) for line in lines}


def run(minutes: float, rate: float, folder: Path) -> list[Look]:
    """The load and what was seen; the service's log stays in ``folder``."""
    image_port, http_port = free_ports(2)
    images, http = f"http://127.0.0.1:{image_port}", f"http://127.0.0.1:{http_port}"
    with (
        LocalKafka(brokers=1) as kafka,
        started("images", ["-m", "consumer.demo.images", "--port", str(image_port)], folder) as server,
    ):
        for topic, partitions in TOPICS.items():
            kafka.create_topic(topic, partitions)
        await_answer(server, f"{images}/healthz", folder / "images.log")
        environ = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "HTTP_PORT": str(http_port),
            "MODEL_CACHE_BYTES": "0",  # or the model would rest, since the pictures come again
            "FETCH_ALLOW_NETS": "127.0.0.0/8",
            "FETCH_ALLOW_PORTS": "any",
            "LOG_FORMAT": "json",
        }
        with started("service", ["-m", "consumer", "run"], folder, **environ) as service:
            await_answer(service, f"{http}/readyz", folder / "service.log")
            return load(
                service.pid,
                brokers=kafka.bootstrap_servers,
                images=images,
                http=http,
                seconds=minutes * 60,
                rate=rate,
            )


def load(pid: int, *, brokers: str, images: str, http: str, seconds: float, rate: float) -> list[Look]:
    """Publishes steadily and looks, until the time is over and every event has its outcome."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20})
    looks: list[Look] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("steady load", total=seconds)
        began, sent = time.monotonic(), 0
        while (now := time.monotonic() - began) < seconds:
            while sent < now * rate:
                name = "none" if sent % MISSING_EVERY == 0 else sent % PICTURES
                event = {"event_id": str(sent), "url": f"{images}/garment/{name}.jpg"}
                producer.produce("image-urls", key=f"shop-{sent % 50}", value=json.dumps(event))
                sent += 1
            producer.poll(1 / rate)
            if not looks or now - looks[-1].at_s >= LOOK_EVERY_S:
                looks.append(look(pid, began, http))
                one = looks[-1]
                told = f"{one.events} events, {one.rss_mib:.0f} MiB, {one.threads} threads, {one.descriptors} fds"
                progress.update(bar, completed=now, description=told)
    producer.flush(30)
    deadline = time.monotonic() + 60
    while (done := sum(counted(http).values())) < sent:
        if time.monotonic() > deadline:
            raise SystemExit(f"{sent} events were published and {done} have an outcome: the rate is too high here")
        time.sleep(0.2)
    print(f"{sent} events published, {done} outcomes committed: {counted(http)}")
    return looks


def judge(looks: list[Look], warm_up_s: float) -> bool:
    """Prints the first and the last quarter after the warm-up side by side; whether nothing grew."""
    warm = [one for one in looks if one.at_s >= warm_up_s]
    quarter = max(1, len(warm) // 4)
    first, last = warm[:quarter], warm[-quarter:]
    flat = True
    print(f"\n{'':18}{'first quarter':>15}{'last quarter':>15}{'highest':>10}   (medians, after {warm_up_s:.0f} s)")
    for name, field, unit in (("memory", "rss_mib", " MiB"), ("threads", "threads", ""), ("fds", "descriptors", "")):
        before, after = (statistics.median(getattr(one, field) for one in some) for some in (first, last))
        highest = max(getattr(one, field) for one in warm)
        allowed = before * GROWTH_ALLOWED if field == "rss_mib" else SPREAD_ALLOWED
        grew = after - before > allowed
        flat = flat and not grew
        verdict = "GROWS" if grew else "flat"
        print(f"{name:18}{before:>11.0f}{unit:4}{after:>11.0f}{unit:4}{highest:>10.0f}   {verdict}")
    return flat


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def main() -> int:
    """0 if nothing grew, 1 if something did."""
    parser = argparse.ArgumentParser(
        prog="python -m ops.steady_load",
        description=__doc__,
        epilog="example: python -m ops.steady_load --minutes 30 --rate 20",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--minutes", type=_above_zero, default=30.0, metavar="M", help="of publishing events (default: %(default)g)"
    )
    parser.add_argument(
        "--rate", type=_above_zero, default=20.0, metavar="N", help="events a second (default: %(default)g)"
    )
    parser.add_argument("--warm-up", type=_above_zero, metavar="S", help="seconds (default: a third of all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes every look there, a line each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="steady-load-") as folder:
        try:
            looks = run(options.minutes, options.rate, Path(folder))
        except (BenchError, LocalKafkaError) as error:
            print(error, file=sys.stderr)
            return 1
    if options.json:
        lines = (json.dumps({field: getattr(one, field) for field in Look.__slots__}) for one in looks)
        options.json.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    warm_up_s = options.minutes * 20 if options.warm_up is None else options.warm_up
    return 0 if judge(looks, warm_up_s) else 1


if __name__ == "__main__":
    tool.run(main)
