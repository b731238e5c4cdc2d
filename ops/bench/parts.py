"""The parts of an event alone, each in a process of its own: ``python -m ops.bench.parts PART …`` prints JSON.

A part is what cannot be spared, done as well as a careful program of a few lines does it: the bytes through urllib3
with kept connections, the picture through our own decoding without a process between, the model on a full batch,
the records through librdkafka in transactions. CPU is that of the whole process, native threads included.

``again`` measures fetching, decoding and one way to run the model for each line that it is sent, until its input ends:
what a machine takes for the same work changes from one minute to the next, so a service is held against its parts as
they are just before and after.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from consumer.model.heads import Pixels
from consumer.model.trials import Abreast, Backend
from ops.bench.figures import Cost
from ops.bench.image_server import PICTURES, url
from ops.bench.pictures import SIZES, jpeg, picture
from ops.bench.report import DECODE, FETCH, KAFKA

PER_TRANSACTION = 100
"""Events of one transaction of the bare loop: what the service puts into one at some 1000 events a second."""
OUTCOME_BYTES = 700
"""Of one outcome: a prediction of three tasks in Avro, with the event's URL and its source."""


Step = Callable[[], int]
"""Does some of it, and answers how many images that was."""


def measure(step: Step, seconds: float) -> Cost:
    """Repeats a step for so long; once more before, to be warm."""
    step()
    images = 0
    began, cpu = time.perf_counter(), time.process_time()
    while (wall := time.perf_counter() - began) < seconds or not images:
        images += step()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Cost(1000 * cpu / images, 1000 * wall / images, images)


def fetch(options: argparse.Namespace) -> Iterator[tuple[str, Step]]:
    """One image after the other: urllib3 alone, requests as people write it, and the service's own fetcher."""
    import requests
    import urllib3

    from consumer.fetching import Fetcher
    from consumer.settings import Settings

    numbers = count()

    def through(get: Callable[[str], bytes]) -> Step:
        def step() -> int:
            assert len(get(url(options.port, next(numbers), options.size))) > 10_000
            return 1

        return step

    pool = urllib3.PoolManager(num_pools=100)
    session = requests.Session()
    settings = Settings.from_env({"FETCH_ALLOW_NETS": "127.0.0.0/8", "FETCH_ALLOW_PORTS": "any"})
    fetcher = Fetcher(settings)
    ways: dict[str, Callable[[str], bytes]] = {
        FETCH: lambda one: pool.request("GET", one).data,
        "requests": lambda one: session.get(one, timeout=10).content,
        "Fetcher": lambda one: fetcher.fetch(one).body,
    }
    for _ in range(PICTURES):  # connections to every host
        for get in ways.values():
            get(url(options.port, next(numbers), options.size))
    for name, get in ways.items():
        yield name, through(get)


def decode(options: argparse.Namespace) -> Iterator[tuple[str, Step]]:
    """Decoding and resizing to the model's size in this very process, on one thread."""
    from consumer import imaging
    from consumer.model import ModelConfig

    side = ModelConfig.read(options.model).input_size
    files = [jpeg(number, SIZES[options.size]) for number in range(16)]
    numbers = count()

    def step() -> int:
        body = files[next(numbers) % len(files)]
        imaging.decode(body, imaging.kind_of(body), size=side, max_pixels=50_000_000)
        return 1

    yield DECODE, step


def model(options: argparse.Namespace) -> Iterator[tuple[str, Step]]:
    """Every backend and precision of this machine, in each batch size, in all lanes: ``BACKEND PRECISION BATCH``."""
    from consumer.errors import ModelError
    from consumer.model import ModelConfig, openvino
    from consumer.model.choosing import load_reference
    from consumer.model.int8_copy import Int8Copy
    from consumer.model.processor import Processor
    from consumer.model.selection import Workshop

    config = ModelConfig.read(options.model)
    workshop = Workshop(load_reference(config), Int8Copy.beside(config))
    ways = [("tensorflow", "float32")]
    if Processor.here().computes_bfloat16:
        ways.append(("tensorflow", "bfloat16"))
    if openvino.is_installed():
        ways += [("openvino", one) for one in openvino.precisions()]
        ways += [("openvino", "int8")] if workshop.copy else []
    if options.only:
        ways = [one for one in ways if " ".join(one) in options.only]
    size = config.input_size
    seen = [np.asarray(Image.fromarray(picture(one, SIZES["385x500"])).resize(size)) for one in range(16)]
    for name, precision in ways:
        try:
            backend = workshop.make(name, precision)
        except ModelError:  # this machine cannot: its rows are missing
            continue
        abreast = Abreast(backend.lanes)  # its threads end with this process
        for batch in options.batches:
            images = np.stack([seen[one % len(seen)] for one in range(batch)])
            yield f"{name} {precision} {batch}", partial(_answer, abreast, backend, images)


def _answer(abreast: Abreast, backend: Backend, images: Pixels) -> int:
    abreast.ask(backend, images)
    return len(images) * backend.lanes


def kafka(options: argparse.Namespace) -> Iterator[tuple[str, Step]]:
    """Records in, records of an outcome's size out, offsets with them, a transaction for each hundred."""
    from confluent_kafka import Consumer, Message, Producer

    consumer = Consumer(
        {
            "bootstrap.servers": options.brokers,
            "group.id": options.topic,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )
    producer = Producer(
        {"bootstrap.servers": options.brokers, "transactional.id": options.topic, "compression.type": "lz4"}
    )
    outcome = np.random.default_rng(1).bytes(OUTCOME_BYTES)
    producer.init_transactions(30)
    consumer.subscribe([options.topic])

    def step() -> int:
        messages: list[Message] = []
        while len(messages) < PER_TRANSACTION:
            message = consumer.poll(10)
            if message is None or message.error():
                raise SystemExit(f"the events ran out, or the broker complains: {message and message.error()}")
            messages.append(message)
        producer.begin_transaction()
        for message in messages:
            producer.produce(options.output, outcome, message.key())
        producer.send_offsets_to_transaction(
            consumer.position(consumer.assignment()), consumer.consumer_group_metadata()
        )
        producer.commit_transaction()
        return len(messages)

    def whole() -> int:
        return sum(step() for _ in range(options.events // PER_TRANSACTION // 2))

    yield KAFKA, whole
    consumer.close()


def again(options: argparse.Namespace) -> None:
    """Fetching, decoding and the model, for each line that comes in."""
    ((_, answering),) = model(options)
    steps = {"fetch": dict(fetch(options))[FETCH], "decode": dict(decode(options))[DECODE], "model": answering}
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps({name: measure(step, options.seconds).cpu_ms for name, step in steps.items()}), flush=True)


def main() -> None:
    """One part, its costs as JSON on the last line."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.parts", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for part in (fetch, decode, model, kafka, again):
        command = commands.add_parser(part.__name__, help=part.__doc__)
        command.set_defaults(part=part)
        command.add_argument("--seconds", type=float, default=1.0)
        command.add_argument("--size", choices=SIZES, default="385x500")
        if part in (fetch, again):
            command.add_argument("--port", type=int, required=True)
        if part in (decode, model, again):
            command.add_argument("--model", type=Path, required=True)
        if part in (model, again):
            command.add_argument("--batches", type=int, nargs="+", default=[1, 8, 16])
            command.add_argument("--only", nargs="*", metavar="'BACKEND PRECISION'")
        if part is kafka:
            command.add_argument("--brokers", required=True)
            command.add_argument("--topic", required=True)
            command.add_argument("--output", required=True)
            command.add_argument("--events", type=int, required=True)
    options = parser.parse_args()
    if options.part is again:
        again(options)
        return
    seconds = 0.0 if options.part is kafka else options.seconds  # as many events as there are, once
    print(json.dumps({name: asdict(measure(step, seconds)) for name, step in options.part(options)}))


if __name__ == "__main__":
    main()
