"""A producer's end waits for nobody, and nobody for it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress

import pytest
from confluent_kafka import KafkaException, Producer

from consumer.stream import timely
from consumer.stream.timely import TimelyProducer

NOBODY = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


def destroying() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "destroy"]


def wait_for(thread: threading.Thread) -> None:
    thread.join(20.0)
    assert not thread.is_alive()


def test_a_producer_is_destroyed_by_a_thread_of_its_own_and_by_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()
    destroy = timely._destroy

    def later(last: list[Producer]) -> None:
        assert may_end.wait(20.0)
        destroy(last)

    monkeypatch.setattr(timely, "_destroy", later)
    producer = TimelyProducer(NOBODY)
    gone = weakref.ref(producer)
    del producer
    (thread,) = destroying()
    assert gone() is not None
    may_end.set()
    wait_for(thread)
    assert gone() is None
    assert destroying() == []


@pytest.mark.parametrize("attempt", range(20))
def test_whoever_drops_it_while_it_was_never_ready_goes_on_at_once(attempt: int) -> None:
    producer = TimelyProducer(NOBODY | {"transactional.id": f"never-{attempt}"})
    with suppress(KafkaException):  # pytest.raises would keep its frames, and this one's producer
        producer.init_transactions(0.01)
        pytest.fail("it was ready")
    gone = weakref.ref(producer)
    producer.purge()
    began = time.monotonic()
    del producer
    assert time.monotonic() - began < 0.5
    assert destroying() or gone() is None
    for thread in destroying():
        wait_for(thread)
    assert gone() is None


def test_a_process_ends_with_a_producer_that_it_has_still_and_one_that_it_has_just_dropped() -> None:
    script = (
        "from consumer.stream.timely import TimelyProducer\n"
        f"kept, dropped = (TimelyProducer({NOBODY!r}) for _ in range(2))\n"
        "del dropped"
    )
    subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": ":".join(sys.path)}, check=True, timeout=20)
