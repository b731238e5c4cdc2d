"""Whether the group has given this instance's place to another process of its name.

A member with a stable name whose session has ended joins again as a new one, and the group takes the newest that joins
under a name for the only one: whoever had the place is fenced. So an instance that was frozen, and whose successor has
its place by then, took it back as soon as it went on; its producer was fenced already, the successor fenced now, and
both ended with 5 (in four of seven runs; the partitions were silent for 3.5 s until a third process was up).

So who has lost its partitions asks who has its name, before librdkafka joins again: it waits for the callback in which
the question is asked. An instance that holds no partition has no such callback, and joins again unasked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from concurrent import futures
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from consumer.settings import Settings
from consumer.stream import clients

log = logging.getLogger(__name__)

ASK_S: Final = 3.0
"""How long an answer is waited for, some milliseconds as a rule; without one it joins again, as it must."""


class Seat:
    """A stable name's place in the group.

    Args:
        make: makes an admin client, which may describe the group: Read on it includes that. A new one each time, which
            knows no coordinator yet that has left since (see `consumer.stream.orphans.PATIENCE_S`).
        group: its id.
        name: this instance's.
        wait: for an answer, so many seconds at most.
    """

    def __init__(
        self,
        make: Callable[[], AdminClient],
        group: str,
        name: str,
        wait: Callable[[futures.Future[Any], float], object] = lambda asked, most_s: futures.wait([asked], most_s),
    ) -> None:
        self._make = make
        self._group = group
        self._name = name
        self._wait = wait

    @classmethod
    def of(cls, settings: Settings, instance: clients.Instance) -> Seat | None:
        """This instance's; null where the group knows nothing of its name."""
        name = clients.consumer_config(settings, instance).get("group.instance.id")
        if name is None:
            return None
        make = partial(AdminClient, clients.admin_config(settings, instance))
        return cls(make, settings.kafka.group_id, str(name))

    def is_taken(self, ours: Collection[str]) -> bool:
        """Whether a member that is none of ``ours`` has it; false if the group's coordinator does not say."""
        admin = self._make()  # kept: what a client was asked is forgotten with it
        asked = admin.describe_consumer_groups([self._group], request_timeout=clients.UNHURRIED_S)[self._group]
        self._wait(asked, ASK_S)
        if not asked.done():
            return False
        try:
            members = asked.result().members
        except KafkaException as error:
            log.info("the group could not be asked who has this instance's name: %s", error.args[0].str())
            return False
        return any(one.group_instance_id == self._name and one.member_id not in ours for one in members)
