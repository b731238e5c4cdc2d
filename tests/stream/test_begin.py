"""Reading is begun anew while a revocation waits to be polled: it must not be taken for the answer to that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from consumer.settings import Settings
from consumer.stream import clients
from consumer.stream.clients import AnsweringConsumer
from consumer.stream.source import Source
from ops.local_kafka import topics
from tests.brokers import Kafka
from tests.stream.stage import PARTITIONS, Stage

FINISHING_S = 1.5
"""What a revocation takes, with work to be finished. The group gives the partitions out within 0.1 s of its answer."""

STOPPING_S = 0.3
"""What librdkafka needs to stop reading partitions, at most: nobody is told when it has."""


class Owner:
    """A member that polls on a thread of its own, and notes what is given to it while another still has it."""

    def __init__(self, settings: Settings, held: dict[int, Owner]) -> None:
        self._held = held
        self._given = threading.Event()
        self.clashes: list[int] = []
        self._over = threading.Event()
        self._source = Source(
            clients.make_consumer(clients.consumer_config(settings, clients.Instance.of(settings))),
            settings.input_topic,
        )
        self._source.subscribe(self)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def assigned(self, partitions: list[int]) -> None:
        self.clashes += [one for one in partitions if self._held.get(one, self) is not self]
        self._held.update(dict.fromkeys(partitions, self))

    def revoked(self, partitions: list[int]) -> None:
        self._over.wait(FINISHING_S)
        self.lost(partitions)

    def lost(self, partitions: list[int]) -> None:
        for partition in partitions:
            if self._held.get(partition) is self:
                del self._held[partition]

    def stop(self) -> None:
        self._over.set()
        self._thread.join(20)

    def _run(self) -> None:
        while not self._over.is_set():
            self._source.poll(100, 0.05)
        self._source.close()


class Gate:
    """The first call of a consumer's method waits until the gate is opened, and ends some time later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str, later_s: float) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        first = threading.Lock()

        def call(consumer: AnsweringConsumer, *given: Any, **more: Any) -> Any:
            held = first.acquire(blocking=False)
            if held:
                self.reached.set()
                assert self.open.wait(30)
            try:
                return getattr(super(AnsweringConsumer, consumer), method)(*given, **more)
            finally:
                if held:
                    time.sleep(later_s)

        monkeypatch.setattr(AnsweringConsumer, method, call, raising=False)


def until(condition: Callable[[], bool]) -> None:
    late = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < late
        threading.Event().wait(0.05)


def is_shared_out(admin: AdminClient, group: str, members: int) -> bool:
    found = admin.describe_consumer_groups([group])[group].result()
    return found.state == ConsumerGroupState.STABLE and len(found.members) == members


@pytest.mark.parametrize(("method", "later_s"), [("committed", 0.0), ("incremental_unassign", STOPPING_S)])
def test_a_partition_is_given_to_nobody_before_its_owner_has_heard_that_it_is_taken_away(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, method: str, later_s: float
) -> None:
    """The revocation comes while it is asked where to begin; or when no poll can hear it any more before that."""
    gate = Gate(monkeypatch, method, later_s)
    stage = Stage(kafka, "exactly-once")
    admin, group = topics.admin(kafka.bootstrap_servers), stage.settings.kafka.group_id
    held: dict[int, Owner] = {}
    first = Owner(stage.settings, held)
    assert gate.reached.wait(20)  # no offset is committed, so all begins here
    second = Owner(stage.settings, held)
    until(lambda: is_shared_out(admin, group, 2))
    gate.open.set()
    until(lambda: len(held) == PARTITIONS and set(held.values()) == {first, second})
    first.stop()
    second.stop()
    assert first.clashes + second.clashes == []
