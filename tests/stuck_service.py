"""The service with a part that hangs: ``python -m tests.stuck_service fetches|client``, settings as always.

Everything is real but the model, which is not there, and three times, which are cut short.
"""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

from confluent_kafka import Consumer

import consumer.predictor
import consumer.service
from consumer import cli
from consumer.events import ModelInfo
from consumer.health import Health
from consumer.stream.source import Source

STUCK_AFTER_S = 1.0


def main() -> None:
    model = SimpleNamespace(
        info=ModelInfo("none", "1", "tensorflow"), config=SimpleNamespace(input_size=(8, 8)), predict=list
    )
    consumer.service.load_model = lambda _: model  # type: ignore[assignment,return-value]
    consumer.service.Health = lambda _: Health(STUCK_AFTER_S)  # type: ignore[assignment,misc]
    consumer.service.STUCK_ENDS_AFTER_S = 2.0
    consumer.service.WATCH_EVERY_S = 0.5
    {"fetches": hang_in_every_fetch, "client": hang_in_a_client_call}[sys.argv[1]]()
    sys.exit(cli.main(["run"]))


def hang_in_every_fetch() -> None:
    def decode_for_ever(*_: Any, **__: Any) -> None:
        threading.Event().wait()

    consumer.predictor.decode_image = decode_for_ever  # type: ignore[assignment]


def hang_in_a_client_call() -> None:
    poll = Source.poll

    def poll_for_ever(self: Source, most: int, timeout_s: float) -> list[Any]:
        found = poll(self, most, timeout_s)
        if found:
            Consumer({"group.id": "nobody", "bootstrap.servers": "127.0.0.1:9"}).poll(3600)  # in C, without a word
        return found

    Source.poll = poll_for_ever  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
