"""The service with one rule broken on purpose: what the oracle must notice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from confluent_kafka import KafkaError

from consumer.breaker import Breaker, Cause
from consumer.stream.absence import Absence
from consumer.stream.core import StreamCore
from consumer.stream.exactly_once import TransactionalPublisher
from consumer.stream.ledger import Entry, Ledger, Stand
from consumer.stream.loop import StreamLoop
from consumer.stream.outbox import Clock
from consumer.stream.protocol import Claim, Publish, Published, Result
from consumer.stream.source import Source
from tests.simulation.instance import SOUND, Parts


class CommitsTheNewest(StreamCore):
    """Commits up to the newest finished event, whatever is unfinished before it."""

    def _gather(self) -> Publish:
        sound = super()._gather()
        self._sound = sound.offsets
        newest = {
            partition: 1 + max(one.offset for one in self._ledgers[partition].entries if one.stand is Stand.FINISHED)
            for partition in sound.offsets
        }
        return replace(sound, offsets=newest)

    def _released(self, publication: Publish, offsets: Mapping[int, int], now: float) -> list[Entry]:
        return super()._released(publication, {partition: self._sound[partition] for partition in offsets}, now)


class DeafToRevocations(StreamLoop):
    """Goes on with partitions that were taken away."""

    def revoked(self, partitions: list[int]) -> None:
        pass


class RemembersItsGeneration(Source):
    """Reads the group's metadata once."""

    _metadata: Any = None

    def group_metadata(self) -> Any:
        self._metadata = self._metadata or super().group_metadata()
        return self._metadata


class IsNobody(Source):
    """Publishes with the metadata of no member, which the broker takes unfenced."""

    def group_metadata(self) -> Any:
        return -1, "", None


class AsksForItsMemberIdFirst(Source):
    """Looks whether it is a member before it reads the metadata, not after."""

    def group_metadata(self) -> Any:
        return self._consumer.consumer_group_metadata() if self._consumer.memberid() else None


class BlindToOrphans(Source):
    """Never looks whether partitions are with nobody."""

    def __init__(self, *arguments: Any, orphans: Any = None, **more: Any) -> None:
        super().__init__(*arguments, orphans=None, **more)


class BlindToTheTopic(Source):
    """Never looks which topic it is that has the name."""

    def __init__(self, *arguments: Any, identity: Any = None, **more: Any) -> None:
        super().__init__(*arguments, identity=None, **more)


class BlindToMarks(Source):
    """Notices that its topic is made again, and not that an offset was committed in the former one."""

    def __init__(self, *arguments: Any, identity: Any, **more: Any) -> None:
        identity.is_foreign = lambda mark: False
        super().__init__(*arguments, identity=identity, **more)


class DeafToFencing(Source):
    """Asks an error whether it is fatal, which librdkafka's fatal error denies."""

    def _is_record(self, message: Any) -> bool:
        error = message.error()
        return (error is None or error.code() != KafkaError._FATAL) and super()._is_record(message)


class TakesUnknownForAborted(TransactionalPublisher):
    """Publishes again what may be there."""

    def publish(self, publication: Publish, budget_s: float) -> Published:
        answer = super().publish(publication, budget_s)
        return Published(Result.ABORTED) if answer.result is Result.UNKNOWN else answer


class TakesUnknownForCommitted(TransactionalPublisher):
    """Goes on as if what was not answered were there."""

    def publish(self, publication: Publish, budget_s: float) -> Published:
        answer = super().publish(publication, budget_s)
        return Published(Result.COMMITTED) if answer.result is Result.UNKNOWN else answer


class KeepsItsProducer(TransactionalPublisher):
    """Uses a producer again although a request of it may still take effect."""

    def _again(self, deadline: float, call: Callable[[float], object]) -> bool:
        super()._again(deadline, call)
        return True

    def _abort(self, deadline: float) -> None:
        before = self._outbox
        super()._abort(deadline)
        self._outbox = before


class TakesItsNameBack(TransactionalPublisher):
    """Starts a producer again after it was fenced, and so fences the newer instance of its name."""

    def _judge(self, error: KafkaError) -> Any:
        verdict = super()._judge(error)
        self._fenced = False
        return verdict


class TrustsItsName(TransactionalPublisher):
    """Makes a producer as soon as it is back, however long it was away."""

    def __init__(self, make: Any, source: Source, *, clock: Clock, **more: Any) -> None:
        super().__init__(make, source, clock=clock, **more)
        self._absence = Absence(source, clock, named=False)


class TrustsTheError(TransactionalPublisher):
    """Takes a commit that was answered with an error for aborted, even if the abort fails."""

    def _failed(self, *arguments: Any) -> Published:
        answer = super()._failed(*arguments)
        return replace(answer, result=Result.ABORTED) if answer.result is Result.UNKNOWN else answer


class ForgetsTenures(StreamCore):
    """Takes work for an earlier tenure for work of this one."""

    def _of(self, claim: Claim) -> Ledger | None:
        return self._ledgers.get(claim.partition)


class AwaitsWhatItLost(StreamLoop):
    """Goes on waiting for work of partitions that were taken away."""

    def _drop(self, claims: Iterable[Claim]) -> None:
        pass


class LosesWhatIsPutBack(StreamCore):
    """Does not queue again what was put back."""

    def put_back(self, claim: Claim) -> None:
        ledger = self._of(claim)
        if ledger is not None:
            ledger.put_back(claim.offset)
            self._in_flight -= 1


class NeverOpens(Breaker):
    """Takes every failure for the event's own."""

    def _open(self, cause: Cause, now: float) -> None:
        pass


class NeverProbes(Breaker):
    """Opens, and never looks whether it may close."""

    def _open(self, cause: Cause, now: float) -> None:
        super()._open(cause, now)
        self.probe_at = float("inf")


BREAKAGES: dict[str, tuple[str, Parts]] = {
    "commits the newest finished offset": ("crashes", replace(SOUND, core=CommitsTheNewest)),
    "transactions off": ("crashes", replace(SOUND, publisher="at-least-once")),
    "no revoke handler": ("rebalances", replace(SOUND, loop=DeafToRevocations)),
    "stale group metadata": ("rebalances", replace(SOUND, source=RemembersItsGeneration)),
    "metadata of nobody": ("zombies", replace(SOUND, source=IsNobody)),
    "member id asked before the metadata": ("everything", replace(SOUND, source=AsksForItsMemberIdFirst)),
    "no look for partitions that are with nobody": ("crashes", replace(SOUND, source=BlindToOrphans)),
    "a topic that was made again is taken for the same": ("remade", replace(SOUND, source=BlindToTheTopic)),
    "an offset of the former topic is taken for one of this": ("remade", replace(SOUND, source=BlindToMarks)),
    "a fenced consumer goes on": ("zombies", replace(SOUND, source=DeafToFencing)),
    "an unknown commit taken for a failure": ("answers", replace(SOUND, transactional=TakesUnknownForAborted)),
    "an unknown commit taken for a success": ("answers", replace(SOUND, transactional=TakesUnknownForCommitted)),
    "a producer used again after late requests": ("answers", replace(SOUND, transactional=KeepsItsProducer)),
    "a fenced instance takes its name back": ("everything", replace(SOUND, transactional=TakesItsNameBack)),
    "one that was away takes its name back unasked": ("zombies", replace(SOUND, transactional=TrustsItsName)),
    "work of an earlier assignment is published": (
        "rebalances",
        replace(SOUND, core=ForgetsTenures, loop=AwaitsWhatItLost),
    ),
    "what was put back is forgotten": ("outages", replace(SOUND, core=LosesWhatIsPutBack)),
    "the breaker never opens": ("outages", replace(SOUND, breaker=NeverOpens)),
    "the breaker never probes": ("outages", replace(SOUND, breaker=NeverProbes)),
    "an error taken for an abort": ("answers", replace(SOUND, transactional=TrustsTheError)),
}
"""What is broken → the profile in which it shows soonest, and the parts."""
