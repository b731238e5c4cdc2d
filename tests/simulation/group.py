"""The group coordinator: members, generations, who has which partition (classic protocol, KIP-345, KIP-429).

Clients hear of a rebalance when they next heartbeat; the generation rises once every member has joined
again or was given up. With ``range`` each member has let go of everything before it joins, with
``cooperative-sticky`` a partition that moves is given to nobody until its owner has joined without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from confluent_kafka import KafkaError

from tests.simulation.answers import Refused

Assignor = Literal["range", "cooperative-sticky", "consumer"]
"""How partitions are shared out; ``consumer`` is the protocol in which the broker does it (KIP-848)."""
GroupMetadata = tuple[int, str, str | None]
"""Generation, member id, instance id: what fences a zombie."""


class Client(Protocol):
    """The member's side; each is told at its next heartbeat, not at once."""

    def hear(self, code: int | None) -> None:
        """What the answer to a heartbeat says: an error, or null: join again."""

    def joined(self, generation: int, partitions: list[int]) -> None:
        """The group has its next generation."""


@dataclass(slots=True)
class Member:
    """One member as the coordinator knows it."""

    id: str
    instance: str | None
    client: Client
    joined: bool = False
    owned: list[int] = field(default_factory=list)
    """What it said it holds when it joined last (cooperative)."""
    since: int = -1
    """In which generation it was given that."""
    assigned: list[int] = field(default_factory=list)


class GroupCoordinator:
    """One group that reads one topic."""

    def __init__(self, assignor: Assignor, partitions: int) -> None:
        self.generation = 0
        self.members: dict[str, Member] = {}
        self.rebalancing = False
        self._assignor = assignor
        self.partitions = partitions
        """Of the topic, as far as the members know."""
        self._number = 0

    # ── membership ───────────────────────────────────────────────────────────────────────────────

    def join(self, member_id: str, instance: str | None, client: Client, owned: list[int], since: int = -1) -> str:
        """``JoinGroup``; gives the member id, and `Client.joined` follows.

        Raises:
            Refused: the member id is not known, or a newer process has its instance id.
        """
        member = self.members.get(member_id)
        if member is None and member_id:
            raise Refused(KafkaError.FENCED_INSTANCE_ID if self.knows(instance) else KafkaError.UNKNOWN_MEMBER_ID)
        if member is None:
            self._number += 1
            member = Member(f"member-{self._number}", instance, client)
            before = next((one for one in self.members.values() if instance and one.instance == instance), None)
            if before is not None:
                return self._take_over(before, member)
            self.members[member.id] = member
        member.owned, member.since = owned, since
        member.joined = True
        self._rebalance()
        self._complete()
        return member.id

    def leave(self, member_id: str) -> None:
        """A member leaves, or its session ended."""
        if self.members.pop(member_id, None) is not None:
            self._rebalance()
            self._complete()

    def give_up_waiting(self) -> None:
        """The rebalance timeout is over: who has not joined again is out."""
        if self.rebalancing:
            for one in [one for one in self.members.values() if not one.joined]:
                del self.members[one.id]
                one.client.hear(KafkaError.UNKNOWN_MEMBER_ID)
            self._complete()

    def shake(self) -> None:
        """A rebalance for no reason that the members know."""
        if self.members:
            self._rebalance()

    def knows(self, instance: str | None) -> bool:
        """Whether a member has this instance id."""
        return instance is not None and any(one.instance == instance for one in self.members.values())

    # ── fencing ──────────────────────────────────────────────────────────────────────────────────

    def check(self, metadata: GroupMetadata, partitions: Iterable[int], *, transactional: bool) -> None:
        """Whether this member may commit.

        Raises:
            Refused: it is not of the current generation. **Metadata of nobody is not fenced** in a
                transaction, nor outside of one while the group is empty.
        """
        generation, member_id, instance = metadata
        if generation < 0 and not self.members:
            return
        if generation < 0 and not member_id and instance is None:
            if transactional:
                return
            raise Refused(KafkaError.UNKNOWN_MEMBER_ID)
        if member_id not in self.members:
            raise Refused(KafkaError.FENCED_INSTANCE_ID if self.knows(instance) else KafkaError.UNKNOWN_MEMBER_ID)
        if generation != self.generation:
            raise Refused(KafkaError.ILLEGAL_GENERATION)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _take_over(self, before: Member, member: Member) -> str:
        """Static membership: a new process in the old one's place, without a rebalance if none is under way."""
        del self.members[before.id]
        self.members[member.id] = member
        before.client.hear(KafkaError.FENCED_INSTANCE_ID)
        if self.rebalancing:
            member.joined = True
            self._complete()
        else:
            member.assigned = before.assigned
            member.client.joined(self.generation, list(member.assigned))
        return member.id

    def _rebalance(self) -> None:
        if self.rebalancing:
            return
        self.rebalancing = True
        for one in self.members.values():
            if not one.joined:
                one.client.hear(None)

    def _complete(self) -> None:
        if not self.rebalancing or not all(one.joined for one in self.members.values()):
            return
        self.rebalancing = False
        self.generation += 1
        for one, partitions in zip(self.members.values(), self._assignment(), strict=True):
            one.joined = False
            one.assigned = partitions
        for one in list(self.members.values()):
            one.client.joined(self.generation, list(one.assigned))

    def _assignment(self) -> list[list[int]]:
        members = list(self.members.values())
        if not members:
            return []
        if self._assignor == "range":
            each, more = divmod(self.partitions, len(members))
            shares, begin = [], 0
            for number in range(len(members)):
                quota = each + (number < more)
                shares.append(list(range(begin, begin + quota)))
                begin += quota
            return shares
        return kept_and_shared(
            [one.owned for one in members], self.partitions, [one.since for one in members], withhold=True
        )


def kept_and_shared(
    owned: list[list[int]], partitions: int, since: Sequence[int] = (), *, withhold: bool = False
) -> list[list[int]]:
    """Shares partitions out evenly, so that as little as possible moves.

    Args:
        owned: what each member says it holds.
        since: in which generation each was given that.
        withhold: what moves is given to nobody for now.
    """
    if not owned:
        return []
    each, more = divmod(partitions, len(owned))
    quotas = [each + (number < more) for number in range(len(owned))]
    # Of two that say they hold the same partition the one that was given it later is believed, the other is told to
    # give it up (rdkafka_sticky_assignor.c, prepopulateCurrentAssignments).
    numbers = sorted(range(len(owned)), key=lambda number: since[number] if since else 0)
    owners: dict[int, int] = {p: number for number in numbers for p in owned[number]}
    held = [[p for p in theirs if owners[p] == number] for number, theirs in enumerate(owned)]
    order = sorted(range(len(owned)), key=lambda number: -len(held[number]))  # who holds most keeps most
    targets = dict(zip(order, sorted(quotas, reverse=True), strict=True))
    shares = [held[number][: targets[number]] for number in range(len(owned))]
    taken = {p for share in shares for p in share}
    for partition in range(partitions):
        if partition in taken:
            continue
        number = next(number for number in order if len(shares[number]) < targets[number])
        if withhold and partition in owners:
            targets[number] -= 1  # kept for it until its owner has let go
        else:
            shares[number].append(partition)
    return [sorted(share) for share in shares]
