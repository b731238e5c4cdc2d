"""An admin client that can do what the service asks of one: describe the group, name a topic's partitions and its id.

A real one may lose the group's coordinator for good: where that has moved it is refused, where it has left the cluster
it is told nothing. Only another client finds the new one.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicCollection, TopicPartition

from tests.simulation.agenda import Agenda
from tests.simulation.broker import Broker
from tests.simulation.dice import Dice
from tests.simulation.process import Process

LOST = 0.05
"""How likely a question finds that the coordinator is not where it was."""


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """The state of the group, and of each member its names and its ``assignment.topic_partitions``."""

    state: ConsumerGroupState
    members: list[Any]


class Admin:
    """Asks without waiting, as confluent-kafka's does: the answer is a future."""

    def __init__(self, process: Process, broker: Broker, agenda: Agenda, dice: Dice) -> None:
        self._process = process
        self._broker = broker
        self._agenda = agenda
        self._dice = dice
        self._lost: Literal["", "moved", "gone"] = ""

    def describe_consumer_groups(self, groups: list[str], request_timeout: float) -> dict[str, Future[Any]]:
        answer: Future[Any] = Future()
        if not self._lost and self._dice.chance(LOST):
            self._lost = self._dice.choose(("moved", "gone"))

        def reply() -> None:
            if self._lost == "moved":
                answer.set_exception(KafkaException(KafkaError(KafkaError.NOT_COORDINATOR)))
            else:
                answer.set_result(self._description())

        if self._lost != "gone":
            self._agenda.after(self._dice.short(), lambda: self._process.background(reply))
        return dict.fromkeys(groups, answer)

    def describe_topics(self, topics: TopicCollection, request_timeout: float) -> dict[str, Future[Any]]:
        answer: Future[Any] = Future()
        partitions = [SimpleNamespace(id=number) for number in range(self._broker.topics[self._broker.input])]
        answer.set_result(SimpleNamespace(partitions=partitions, topic_id=self._broker.made))
        return {self._broker.input: answer}

    def _description(self) -> GroupDescription:
        group = self._broker.group
        members = [
            SimpleNamespace(
                member_id=one.id,
                group_instance_id=getattr(one, "instance", None),
                assignment=SimpleNamespace(
                    topic_partitions=[TopicPartition(self._broker.input, partition) for partition in one.assigned]
                ),
            )
            for one in group.members.values()
        ]
        state = ConsumerGroupState.PREPARING_REBALANCING if group.rebalancing else ConsumerGroupState.STABLE
        return GroupDescription(state, members)
