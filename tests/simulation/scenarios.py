"""Small plays over producers and consumers, with the answers that Apache Kafka gave when they were recorded.

A step is what is done and what came of it::

    ("p1 commit", "ok")
    ("p1 offsets 5 by m1", "abortable ILLEGAL_GENERATION")

Actors: ``p…`` are transactional producers, ``x`` is a producer without transactions, ``c…`` consumers of
the group. See `tests.simulation.player` for what they can do.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.group import Assignor

Step = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One play. ``name`` is a sentence."""

    name: str
    steps: tuple[Step, ...]
    assignor: Assignor = "range"


START: tuple[Step, ...] = (("p1 init as T", "ok"), ("c1 joins", "2 of 2"), ("m1 is the metadata of c1", "ok"))
"""A producer, a consumer that has both partitions, and its metadata."""

START_BY_HEARTBEATS: tuple[Step, ...] = (
    ("p1 init as T", "ok"),
    ("c1 joins by heartbeats", "2 of 2"),
    ("m1 is the metadata of c1", "ok"),
)
"""The same in the consumer protocol (KIP-848)."""

BY_HEARTBEATS: tuple[Scenario, ...] = (
    Scenario(
        "by heartbeats: records and offsets of a committed transaction are there together",
        (
            *START_BY_HEARTBEATS,
            ("p1 begin", "ok"),
            ("p1 produce a", "ok"),
            ("p1 offsets 2 by m1", "ok"),
            ("p1 commit", "ok"),
            ("read 1", "a"),
            ("c1 committed", "2"),
        ),
        "consumer",
    ),
    Scenario(
        "by heartbeats: offsets of a partition that was kept are taken with an older epoch too",
        (
            *START_BY_HEARTBEATS,
            ("c2 joins by heartbeats", "1 of 2"),
            ("p1 begin", "ok"),
            ("p1 produce a", "ok"),
            ("p1 offsets 1 by m1", "ok"),
            ("p1 commit", "ok"),
            ("read 1", "a"),
            ("c2 committed", "1"),
        ),
        "consumer",
    ),
    Scenario(
        "by heartbeats: the offsets of a member that has left are refused while others are there",
        (
            *START_BY_HEARTBEATS,
            ("c2 joins by heartbeats", "1 of 2"),
            ("c1 leaves", "ok"),
            ("p1 begin", "ok"),
            ("p1 offsets 1 by m1", "abortable UNKNOWN_MEMBER_ID"),
            ("p1 abort", "ok"),
            ("c2 committed", "-1"),
        ),
        "consumer",
    ),
    Scenario(
        "by heartbeats: the offsets of a member that has left are refused although the group is empty",
        (
            *START_BY_HEARTBEATS,
            ("c1 leaves", "ok"),
            ("p1 begin", "ok"),
            ("p1 offsets 1 by m1", "abortable UNKNOWN_MEMBER_ID"),
            ("p1 abort", "ok"),
        ),
        "consumer",
    ),
    Scenario(
        "by heartbeats: the metadata of nobody is not fenced",
        (
            *START_BY_HEARTBEATS,
            ("m2 is the metadata of nobody", "ok"),
            ("p1 begin", "ok"),
            ("p1 offsets 7 by m2", "ok"),
            ("p1 commit", "ok"),
            ("c1 committed", "7"),
        ),
        "consumer",
    ),
    Scenario(
        "by heartbeats: outside of a transaction nobody commits into a group that has members",
        (
            ("c1 joins by heartbeats", "2 of 2"),
            ("c2 commits 3", "plain UNKNOWN_MEMBER_ID"),
            ("c1 commits 2", "ok"),
            ("c1 committed", "2"),
        ),
        "consumer",
    ),
    Scenario(
        "by heartbeats: a member that gets nothing is told nothing",
        (
            ("c1 joins by heartbeats", "2 of 2"),
            ("c2 joins by heartbeats", "1 of 2"),
            ("c3 joins by heartbeats", "0 of 2"),
            ("c3 polls for 7", "ok"),
            ("c3 told", "0"),
            ("c1 leaves", "ok"),
            ("c3 polls for 7", "ok"),
            ("c3 told", "1"),
        ),
        "consumer",
    ),
)

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "records and offsets of a committed transaction are there together",
        (
            *START,
            ("p1 begin", "ok"),
            ("p1 produce a", "ok"),
            ("p1 produce b", "ok"),
            ("p1 offsets 2 by m1", "ok"),
            ("p1 commit", "ok"),
            ("read 2", "a b"),
            ("c1 committed", "2"),
        ),
    ),
    Scenario(
        "records and offsets of an aborted transaction are not there",
        (
            *START,
            ("p1 begin", "ok"),
            ("p1 produce a", "ok"),
            ("p1 offsets 1 by m1", "ok"),
            ("p1 abort", "ok"),
            ("p1 begin", "ok"),
            ("p1 produce b", "ok"),
            ("p1 commit", "ok"),
            ("read 1", "b"),
            ("c1 committed", "-1"),
        ),
    ),
    Scenario(
        "an open transaction hides what stands behind it",
        (
            ("p1 init as T", "ok"),
            ("p2 init as U", "ok"),
            ("p1 begin", "ok"),
            ("p1 produce a", "ok"),
            ("p1 flush", "ok"),
            ("p2 begin", "ok"),
            ("p2 produce b", "ok"),
            ("p2 commit", "ok"),
            ("read 0", ""),
            ("p1 commit", "ok"),
            ("read 2", "a b"),
        ),
    ),
    Scenario(
        "a second start under the same name ends the first one's transaction and fences it",
        (
            *START,
            ("p1 begin", "ok"),
            ("p1 produce a", "ok"),
            ("p1 offsets 1 by m1", "ok"),
            ("p2 init as T", "ok"),
            ("p1 commit", "fatal _FENCED"),
            ("p1 abort", "fatal _FENCED"),
            ("p2 begin", "ok"),
            ("p2 produce b", "ok"),
            ("p2 commit", "ok"),
            ("read 1", "b"),
            ("c1 committed", "-1"),
        ),
    ),
    Scenario(
        "a fenced producer cannot begin to write",
        (
            ("p1 init as T", "ok"),
            ("p2 init as T", "ok"),
            ("p1 begin", "ok"),
            ("p1 produce a", "ok"),
            ("p1 commit", "fatal _FENCED"),
            ("read 0", ""),
        ),
    ),
    Scenario(
        "a fenced producer cannot send offsets",
        (
            *START,
            ("p2 init as T", "ok"),
            ("p1 begin", "ok"),
            ("p1 offsets 1 by m1", "fatal _FENCED"),
            ("c1 committed", "-1"),
        ),
    ),
    Scenario(
        "a zombie's offsets are refused once the group has its next generation",
        (
            *START,
            ("c2 joins", "1 of 2"),
            ("p1 begin", "ok"),
            ("p1 produce a", "ok"),
            ("p1 offsets 1 by m1", "abortable ILLEGAL_GENERATION"),
            ("p1 commit", "abortable ILLEGAL_GENERATION"),
            ("p1 abort", "ok"),
            ("m1 is the metadata of c1", "ok"),
            ("p1 begin", "ok"),
            ("p1 produce b", "ok"),
            ("p1 offsets 1 by m1", "ok"),
            ("p1 commit", "ok"),
            ("read 1", "b"),
            ("c2 committed", "1"),
        ),
    ),
    Scenario(
        "the offsets of a member that has left are refused while others are there",
        (
            *START,
            ("c2 joins", "1 of 2"),
            ("c1 leaves", "ok"),
            ("p1 begin", "ok"),
            ("p1 offsets 1 by m1", "abortable UNKNOWN_MEMBER_ID"),
            ("p1 abort", "ok"),
            ("c2 committed", "-1"),
        ),
    ),
    Scenario(
        "the metadata of nobody is not fenced",
        (
            *START,
            ("m2 is the metadata of nobody", "ok"),
            ("p1 begin", "ok"),
            ("p1 offsets 7 by m2", "ok"),
            ("p1 commit", "ok"),
            ("c1 committed", "7"),
        ),
    ),
    Scenario(
        "outside of a transaction nobody commits into a group that has members",
        (
            ("c1 joins", "2 of 2"),
            ("c2 commits 3", "plain UNKNOWN_MEMBER_ID"),
            ("c1 commits 2", "ok"),
            ("c1 committed", "2"),
        ),
    ),
    Scenario(
        "a static member is replaced at once, in the same generation, and the old one is fenced",
        (
            ("p1 init as T", "ok"),
            ("c1 joins as A", "2 of 2"),
            ("m1 is the metadata of c1", "ok"),
            ("c2 joins as A", "2 of 2"),
            ("c1 polls", "plain _FATAL"),
            ("p1 begin", "ok"),
            ("p1 offsets 1 by m1", "abortable FENCED_INSTANCE_ID"),
            ("p1 abort", "ok"),
            ("c2 committed", "-1"),
        ),
    ),
    Scenario(
        "offsets that wait for a commit hold up whoever asks for them",
        (
            *START,
            ("p1 begin", "ok"),
            ("p1 offsets 4 by m1", "ok"),
            ("c1 committed", "plain _TIMED_OUT"),
            ("p1 commit", "ok"),
            ("c1 committed", "4"),
        ),
    ),
    Scenario(
        "offsets that waited and were aborted leave the older ones",
        (
            *START,
            ("c1 commits 1", "ok"),
            ("p1 begin", "ok"),
            ("p1 offsets 4 by m1", "ok"),
            ("p2 init as T", "ok"),
            ("c1 committed", "1"),
        ),
    ),
    Scenario(
        "a transaction that grows too old is ended by the broker, and its producer is fenced",
        (
            ("p1 init as T for 1 s", "ok"),
            ("p2 init as U", "ok"),
            ("p1 begin", "ok"),
            ("p1 produce a", "ok"),
            ("p1 flush", "ok"),
            ("wait 3", "ok"),
            ("p2 begin", "ok"),
            ("p2 produce b", "ok"),
            ("p2 commit", "ok"),
            ("read 1", "b"),
            ("p1 commit", "fatal _FENCED"),
        ),
    ),
    Scenario(
        "a record that the producer finds too large is left out, and the transaction commits without it",
        (
            ("p1 init as T", "ok"),
            ("p1 begin", "ok"),
            ("p1 produce a", "ok"),
            ("p1 produce 20000 bytes", "plain MSG_SIZE_TOO_LARGE"),
            ("p1 produce b", "ok"),
            ("p1 commit", "ok"),
            ("read 2", "a b"),
        ),
    ),
    Scenario(
        "a record that the broker finds too large makes the transaction one that must be aborted",
        (
            ("p1 init as T", "ok"),
            ("p1 begin", "ok"),
            ("p1 produce a", "ok"),
            ("p1 produce 7000 bytes", "ok"),
            ("p1 commit", "abortable MSG_SIZE_TOO_LARGE"),
            ("p1 abort", "ok"),
            ("p2 init as T", "ok"),
            ("p2 begin", "ok"),
            ("p2 produce b", "ok"),
            ("p2 commit", "ok"),
            ("read 1", "b"),
        ),
    ),
    Scenario(
        "calls out of order are refused, and nothing is broken by them",
        (
            ("p1 made as T", "ok"),
            ("p1 begin", "plain _STATE"),
            ("p1 init", "ok"),
            ("p1 commit", "plain _STATE"),
            ("p1 abort", "plain _STATE"),
            ("p1 produce a", "plain _STATE"),
            ("p1 begin", "ok"),
            ("p1 begin", "plain _STATE"),
            ("p1 commit", "ok"),
            ("read 0", ""),
        ),
    ),
    *BY_HEARTBEATS,
)
