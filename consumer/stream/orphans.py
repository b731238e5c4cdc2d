"""Partitions that nobody reads although the group is at rest, and a way out.

A cooperative rebalance takes two rounds: in the first a member is told what to give up, in the second, which
that member asks for once it has, another gets it. A member with a stable name (static membership) that dies
in between is back without a rebalance, as static membership promises, with what the first round left it: it
has nothing to give up, so nobody asks for the second round, and the partitions stay with nobody for as long
as the group is left in peace. Neither Kafka 4.3 nor librdkafka 2.16 notices.

So a member with a stable name looks at the group after its assignment changed, and if partitions stay with
nobody it leaves and joins again, which makes the group share them out anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from consumer.settings import Settings
from consumer.stream import clients

log = logging.getLogger(__name__)

FORBIDDEN = {KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED}

LOOK_EVERY_S = 2.0
"""Between the rounds of a healthy rebalance a partition is with nobody for a moment: the time that its work
takes to be finished, half a second at most, and a heartbeat. Only what two looks in a row find is orphaned."""

LOOKS = 4
"""How often the group is seen after a change: enough for a rebalance that a slow member draws out."""

PATIENCE_S = 10.0
"""After which a question is asked anew, by a client that does not know a coordinator yet. One that has left the cluster
librdkafka waits for until another broker's connection changes (#5511); one that has moved it asks for a quarter of an
hour, and is refused (NOT_COORDINATOR)."""

COUNT_S = 1.0
"""How long it may take to name the topic's partitions, which is waited for: a millisecond as a rule."""


class Orphans:
    """Looks at a group for a while after each change. All of it belongs to the stream's thread.

    Args:
        make: makes an admin client, which may describe the group: Read on it includes that.
        group: its id.
        topic: the input topic.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        make: Callable[[], AdminClient],
        group: str,
        topic: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._admin = make()
        self._group = group
        self._topic = topic
        self._clock = clock
        self._asked: Future[Any] | None = None
        self._asked_at = 0.0
        self._before: frozenset[int] = frozenset()
        self._looks = 0
        self._at = 0.0

    @classmethod
    def of(cls, settings: Settings, instance: clients.Instance) -> Orphans | None:
        """For this instance; null where there is nothing to look for: a made-up name's place in the group dies
        with its process, and any other assignment is made in one round."""
        config = clients.consumer_config(settings, instance)
        if not instance.stable or "cooperative" not in config.get("partition.assignment.strategy", ""):
            return None
        make = partial(AdminClient, clients.admin_config(settings, instance))
        return cls(make, settings.kafka.group_id, settings.input_topic)

    def changed(self) -> None:
        """This member's assignment has changed: the group is worth a few looks."""
        if self._asked is not None and not self._asked.done():
            self._ask_another_client()
        self._asked = None
        self._before = frozenset()
        self._looks = LOOKS
        self._at = self._clock() + LOOK_EVERY_S

    def found(self) -> frozenset[int]:
        """Partitions that two looks in a row found with nobody; empty most of the time."""
        now = self._clock()
        if self._asked is not None:
            if self._asked.done():
                return self._seen(self._asked)
            if now >= self._asked_at + PATIENCE_S:
                self._ask_another_client()
        elif self._looks and now >= self._at:
            self._asked_at = now
            self._at = now + LOOK_EVERY_S
            asked = self._admin.describe_consumer_groups([self._group], request_timeout=clients.UNHURRIED_S)
            self._asked = asked[self._group]
        return frozenset()

    def _ask_another_client(self) -> None:
        """Lets go of the question that is open, and of the client: the next one knows no coordinator yet."""
        self._asked = None
        self._before = frozenset()
        self._looks = max(self._looks, 2)  # it takes two to find anything
        self._admin = self._make()

    def _seen(self, asked: Future[Any]) -> frozenset[int]:
        try:
            nobody_s = self._nobody_s(asked.result())
        except TimeoutError:
            self._ask_another_client()
            return frozenset()
        except KafkaException as error:
            log.info("the group could not be looked at: %s", error.args[0].str())
            self._ask_another_client()
            if error.args[0].code() in FORBIDDEN:
                self._looks = 0
            return frozenset()
        self._asked = None
        self._looks -= 1
        before, self._before = self._before, nobody_s
        return before & nobody_s

    def _nobody_s(self, group: Any) -> frozenset[int]:
        if group.state is not ConsumerGroupState.STABLE:
            return frozenset()
        # `list_topics` of an admin client, a producer to librdkafka, would make a topic that was deleted again.
        topic = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=COUNT_S)[self._topic]
        taken = {
            one.partition
            for member in group.members
            for one in member.assignment.topic_partitions
            if one.topic == self._topic
        }
        return frozenset(one.id for one in topic.result(COUNT_S).partitions) - taken
