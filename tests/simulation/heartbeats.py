"""The group coordinator of the consumer protocol (KIP-848): member epochs, and reconciliation by heartbeats.

Each change of the group raises its epoch and makes a target for every member. A member goes there by its own
heartbeats: first it is told what to give up, and keeps its epoch until it says that it has; then it gets the
new epoch, and of what it is to have whatever nobody else holds any more. Nobody waits for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import KafkaError

from tests.simulation.answers import Refused
from tests.simulation.group import Client, GroupMetadata, kept_and_shared

Later = Callable[[float, Callable[[], None]], None]


@dataclass(slots=True)
class Member:
    """One member as the coordinator knows it."""

    id: str
    client: Client
    epoch: int = 0
    before: int = 0
    """Its epoch before that, which it has still if it did not get the answer."""
    assigned: list[int] = field(default_factory=list)
    target: list[int] = field(default_factory=list)
    leaving: list[int] = field(default_factory=list)
    """What it was told to give up and has not yet."""
    since: dict[int, int] = field(default_factory=dict)
    """Partition → the epoch in which it was given it, for as long as it has it."""
    told: bool = False
    """Whether its next heartbeat is on its way."""

    @property
    def holds(self) -> list[int]:
        """What nobody else may have."""
        return [*self.assigned, *self.leaving]


class HeartbeatCoordinator:
    """One group that reads one topic; to its clients what `tests.simulation.group.GroupCoordinator` is.

    Args:
        after: does something after so many seconds.
        rebalance_s: how long a member may take to give something up.
    """

    rebalancing = False

    def __init__(self, partitions: int, after: Later, rebalance_s: float) -> None:
        self.generation = 0
        """The group's epoch."""
        self.members: dict[str, Member] = {}
        self.partitions = partitions
        self._after = after
        self._rebalance_s = rebalance_s
        self._number = 0

    # ── membership ───────────────────────────────────────────────────────────────────────────────

    def join(self, member_id: str, instance: str | None, client: Client, owned: list[int], epoch: int = 0) -> str:
        """``ConsumerGroupHeartbeat``, with epoch 0 to join; gives the member id, and `Client.joined` follows.

        Raises:
            Refused: the member is not known, or has another epoch.
        """
        assert instance is None, "the service gives no instance id to this protocol"
        member = self.members.get(member_id)
        if member is None:
            if epoch > 0:
                raise Refused(KafkaError.UNKNOWN_MEMBER_ID)
            self._number += 1
            member = Member(member_id or f"member-{self._number}", client)
            self.members[member.id] = member
            self._change()
        elif 0 < epoch != member.epoch and (epoch != member.before or not set(owned) <= set(member.assigned)):
            raise Refused(KafkaError.FENCED_MEMBER_EPOCH)
        member.told = False
        self._reconcile(member, owned)
        member.client.joined(member.epoch, sorted(member.assigned))
        self._stir()
        return member.id

    def leave(self, member_id: str) -> None:
        """A member leaves, or its session ended."""
        if self.members.pop(member_id, None) is not None:
            self._change()
            self._stir()

    def give_up_waiting(self) -> None:
        """Nobody waits for all the others here: see `_give_up`."""

    def shake(self) -> None:
        """A rebalance for no reason that the members know."""
        self._change()
        self._stir()

    def knows(self, instance: str | None) -> bool:
        """No member has an instance id."""
        return False

    # ── fencing ──────────────────────────────────────────────────────────────────────────────────

    def check(self, metadata: GroupMetadata, partitions: Iterable[int], *, transactional: bool) -> None:
        """Whether this member may commit offsets of these partitions.

        Raises:
            Refused: it is no member, or its epoch is older than its present one and than the assignment of one
                of the partitions (KIP-1251: what it has kept it may commit with an older epoch). Metadata of
                nobody are not fenced in a transaction, nor any without an epoch while the group is empty.
        """
        epoch, member_id, _ = metadata
        if epoch < 0 and (not self.members or (transactional and not member_id)):
            return
        member = self.members.get(member_id)
        if member is None:
            raise Refused(KafkaError.UNKNOWN_MEMBER_ID)
        kept = all(epoch >= member.since.get(partition, member.epoch) for partition in partitions)
        if epoch > member.epoch or (epoch < member.epoch and not kept):
            raise Refused(KafkaError.ILLEGAL_GENERATION if transactional else KafkaError.STALE_MEMBER_EPOCH)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _change(self) -> None:
        """A new epoch of the group, and everybody's new target."""
        self.generation += 1
        members = list(self.members.values())
        for one, target in zip(members, kept_and_shared([m.target for m in members], self.partitions), strict=True):
            one.target = target

    def _reconcile(self, member: Member, owned: list[int]) -> None:
        if member.leaving and not set(member.leaving).intersection(owned):
            member.leaving = []
        if member.leaving:
            return
        surplus = [partition for partition in member.assigned if partition not in member.target]
        if surplus:
            member.assigned = [partition for partition in member.assigned if partition in member.target]
            member.leaving = surplus
            for partition in surplus:
                member.since.pop(partition, None)
            epoch = member.epoch
            self._after(self._rebalance_s, lambda: self._give_up(member, epoch))
            return
        taken = {partition for other in self.members.values() for partition in other.holds if other is not member}
        member.assigned = [partition for partition in member.target if partition not in taken]
        if member.epoch != self.generation:
            member.before, member.epoch = member.epoch, self.generation
        member.since = {p: member.since.get(p, member.epoch) for p in member.assigned}

    def _give_up(self, member: Member, epoch: int) -> None:
        """It did not give up in time what it was told to: it is out."""
        if self.members.get(member.id) is member and member.leaving and member.epoch == epoch:
            self.leave(member.id)
            member.client.hear(KafkaError.UNKNOWN_MEMBER_ID)

    def _stir(self) -> None:
        """Those for whom a heartbeat has news make one in their time."""
        for one in list(self.members.values()):
            taken = {p for other in self.members.values() for p in other.holds if other is not one}
            gets = any(p not in taken and p not in one.assigned for p in one.target)
            if not one.told and not one.leaving and (one.epoch != self.generation or gets):
                one.told = True
                one.client.hear(None)
