"""The service with a part that hangs: ``python -m tests.stuck_service PART``, settings as always.

PART is ``fetches`` or ``client`` for one that hangs at work, ``model`` or ``coordinator`` for a start that does
not end, and ``nothing``.

Everything is real but the model, which is not there, and three times, which are cut short.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from confluent_kafka import Consumer

from consumer import cli
from consumer.decoding.decoder import Decoder
from consumer.events import ModelInfo
from consumer.health import Health
from consumer.records import Record
from consumer.stream.source import Source


def main() -> None:
    model = SimpleNamespace(
        info=ModelInfo("none", "1", "tensorflow"),
        config=SimpleNamespace(input_size=(8, 8)),
        max_batch=8,
        lanes=1,
        choice=None,
        predict=list,
    )
    patch.multiple(
        "consumer.service",
        load_model=lambda _: model,
        Health=lambda _: Health(stuck_after_s=1.0),
        STUCK_ENDS_AFTER_S=2.0,
        WATCH_EVERY_S=0.5,
    ).start()
    match sys.argv[1]:
        case "fetches":
            patch.object(Decoder, "decode", decode_for_ever).start()
        case "client":
            patch.object(Source, "poll", poll_for_ever).start()
        case "model":
            patch("consumer.service.load_model", stand_in_a_native_call).start()
        case "coordinator":
            patch("consumer.stream.exactly_once.TransactionalPublisher.start", stand_in_a_native_call).start()
    sys.exit(cli.main(["run"]))


def decode_for_ever(*_: Any, **__: Any) -> None:
    """On a fetch thread."""
    threading.Event().wait()


poll = Source.poll


def poll_for_ever(self: Source, most: int, timeout_s: float) -> list[Record]:
    """On the stream's thread, in C, once there is an event."""
    found = poll(self, most, timeout_s)
    if found:
        Consumer({"group.id": "nobody", "bootstrap.servers": "127.0.0.1:9", "log_level": 0}).poll(3600)
    return found


def stand_in_a_native_call(*_: Any) -> None:
    """Takes a mutex of C's twice: no signal ends that wait, and no handler of Python's runs meanwhile."""
    mutex = ctypes.create_string_buffer(64)
    ctypes.CDLL(None).pthread_mutex_lock(mutex)
    print("hangs now", flush=True)
    ctypes.CDLL(None).pthread_mutex_lock(mutex)


if __name__ == "__main__":
    main()
