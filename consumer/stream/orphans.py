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

LOOK_EVERY_S = 2.0
"""Between the rounds of a healthy rebalance a partition is with nobody for a moment: the time that its work
takes to be finished, half a second at most, and a heartbeat. Only what two looks in a row find is orphaned."""

LOOKS = 4
"""How often the group is looked at after a change: enough for a rebalance that a slow member draws out."""

PATIENCE_S = 10.0
"""After which a question is asked anew, by a client that does not know a coordinator yet: about one that has left the
cluster librdkafka answers nothing, for as long as no other broker's connection changes (#5511)."""

COUNT_S = 1.0
"""How long it may take to name the topic's partitions, which is waited for: a millisecond as a rule."""


class Orphans:
    """Looks at a group for a while after each change. All of it belongs to the stream's thread.

    Args:
        admin: may describe the group, which Read on it includes.
        group: its id.
        topic: the input topic.
        clock: monotonic seconds.
        renew: makes another admin client.
    """

    def __init__(
        self,
        admin: AdminClient,
        group: str,
        topic: str,
        clock: Callable[[], float] = time.monotonic,
        renew: Callable[[], AdminClient] | None = None,
    ) -> None:
        self._admin = admin
        self._renew = renew
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
        make = partial(AdminClient, clients.common(settings, instance, "admin") | settings.kafka.for_admin())
        return cls(make(), settings.kafka.group_id, settings.input_topic, renew=make)

    def changed(self) -> None:
        """This member's assignment has changed: the group is worth a few looks."""
        self._before = frozenset()
        self._ask_no_more()
        self._looks = LOOKS
        self._at = self._clock() + LOOK_EVERY_S

    def found(self) -> frozenset[int]:
        """Partitions that two looks in a row found with nobody; empty most of the time."""
        if self._asked is not None:
            if not self._asked.done():
                if self._clock() >= self._asked_at + PATIENCE_S:
                    self._ask_no_more()
                return frozenset()
            asked, self._asked = self._asked, None
            before, self._before = self._before, self._nobody_s(asked)
            return before & self._before
        if self._looks and self._clock() >= self._at:
            self._looks -= 1
            self._asked_at = self._clock()
            self._at = self._asked_at + LOOK_EVERY_S
            asked = self._admin.describe_consumer_groups([self._group], request_timeout=clients.UNHURRIED_S)
            self._asked = asked[self._group]
        return frozenset()

    def _ask_no_more(self) -> None:
        """Lets go of a question, and of the client that has not answered it."""
        if self._asked is not None and not self._asked.done() and self._renew is not None:
            self._admin = self._renew()
        self._asked = None

    def _nobody_s(self, asked: Future[Any]) -> frozenset[int]:
        try:
            described = asked.result()
            # `list_topics` of an admin client, a producer to librdkafka, would make a topic that was deleted again.
            topic = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=COUNT_S)[self._topic]
            partitions = [one.id for one in topic.result(COUNT_S).partitions]
        except TimeoutError:
            return frozenset()
        except KafkaException as error:
            log.info("the group could not be looked at: %s", error.args[0].str())
            if error.args[0].code() == KafkaError.NOT_COORDINATOR and self._renew is not None:
                self._admin = self._renew()  # librdkafka asks the former coordinator for a quarter of an hour
                self._looks = max(self._looks, 2)  # it takes two to find anything
            return frozenset()
        if described.state is not ConsumerGroupState.STABLE:
            return frozenset()
        taken = {
            one.partition
            for member in described.members
            for one in member.assignment.topic_partitions
            if one.topic == self._topic
        }
        return frozenset(partitions) - taken
