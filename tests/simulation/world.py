"""One history: instances, a broker, what goes wrong, and how everything heals in the end."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from greenlet import getcurrent

from consumer.errors import BrokerError, FatalError
from consumer.stream.limits import Limits
from tests.simulation.agenda import Agenda
from tests.simulation.answers import Killed
from tests.simulation.broker import Broker
from tests.simulation.dice import LATEST_S, Dice, Fate
from tests.simulation.group import Assignor
from tests.simulation.instance import SOUND, Name, Parts, SimulatedInstance
from tests.simulation.log import Entry
from tests.simulation.oracle import Delivery, Event, Oracle
from tests.simulation.outage import Outages
from tests.simulation.profiles import PROFILES, Disturbance
from tests.simulation.work import DEAD_LETTERS, INPUT, MADE, OUTPUT

TROUBLE_S = 30.0
"""How long things go wrong."""

HEAL_S = 300.0
"""How long everything may take to get finished once nothing goes wrong any more: a zombie's session, the group's
rebalance timeout, a transaction's timeout, the pauses after failures, and four flaky images in turn as probes, 31 s
each, fit in. (180 s were too few for one history of 38 000: three of them, and 130 events for one thread.)"""

LOOK_EVERY_S = 1.0

LONG_S = 3.0
"""What work takes at most where it takes long."""

MOST_INSTANCES = 3

ODD = (b"bad", b"unreadable", b"flaky", b"huge", b"large")
"""What an event may be but good. The last one is an outcome that the broker refuses although the producer took
it (its topic allows less). Without a transaction its neighbours are out by then, so the order is not kept."""


@dataclass(frozen=True, slots=True)
class History:
    """What a history came to. ``trace`` is empty unless it was asked for."""

    seed: int
    violations: list[str]
    events: int
    seconds: float
    trace: list[str]


class World:
    """Everything that one seed decides.

    Args:
        seed: of all choices.
        profile: what may go wrong, by name.
        delivery: the promise that is judged.
        parts: what the instances are made of.
        script: fates of single requests, in a profile where nothing else goes wrong; see `Dice.script`.
    """

    def __init__(
        self,
        seed: int,
        profile: str = "everything",
        delivery: Delivery = "exactly-once",
        parts: Parts | None = None,
        *,
        script: Mapping[tuple[str, int], Fate] | None = None,
        traced: bool = False,
    ) -> None:
        self._seed = seed
        self._profile = PROFILES[profile]
        self._parts = parts or replace(SOUND, publisher=delivery)
        self._agenda = Agenda()
        self._dice = dice = Dice(seed, self._profile, self._agenda.clock, traced=traced)
        dice.script.update(script or {})
        self._oracle = Oracle(delivery, self._agenda.clock)
        self._partitions = dice.choose((1, 2, 2, 3, 4))
        self._assignor: Assignor = dice.choose(("cooperative-sticky", "cooperative-sticky", "range", "consumer"))
        self._stable = dice.chance(0.5)
        self._longest_s = dice.choose((0.05, 0.5, LONG_S))
        self._threads = dice.choose((1, 4, 64))
        self._outages = Outages(dice, self._agenda.now, self._profile.most_outages)
        if self._outages.names_dead_hosts:  # so that hosts which were reached are remembered while others fail
            self._longest_s = LONG_S
        self._limits = Limits(
            in_flight=dice.choose((1, 4, 16)),
            queued=dice.choose((1, 4, 16)),
            held_each=dice.choose((2, 5, 1000)),
            publish_outcomes=dice.choose((1, 3, 1000)),
            publish_pause_late_s=0.05,  # a wait of 0.1 s and more counts as idle, and is drawn out
        )
        topics = {INPUT: self._partitions, OUTPUT: dice.choose((1, 2, 3)), DEAD_LETTERS: 1}
        self._broker = Broker(self._agenda, dice, topics, self._assignor, self._oracle)
        self._instances: list[SimulatedInstance] = []
        self._made = 0
        self._unpublished = 0
        self._disturbances = 0
        self._over = False
        self._calm_at = max(self._agenda.now + TROUBLE_S, self._outages.over_at)
        self._hub = getcurrent()

    def run(self) -> History:
        """Lets it all happen, and judges it."""
        self._publish_events()
        for _ in range(self._dice.choose((1, 2, 2, 3))):
            self._new_instance()
        self._plan_disturbances()
        self._agenda.after(LOOK_EVERY_S, self._look)
        while not self._over and self._agenda.step():
            pass
        for name in self._twins():
            self._oracle.violations.append(f"not fenced: several processes are left under the name {name}")
        for one in self._instances:
            one.process.kill()
        violations = self._oracle.judge(self._broker)
        return History(
            self._seed, violations, len(self._oracle.events), self._agenda.now - 1000, self._dice.trace or []
        )

    # ── the input topic ──────────────────────────────────────────────────────────────────────────

    def _publish_events(self) -> None:
        dice = self._dice
        count = dice.random.randint(30, 60) if self._profile.most_outages else dice.random.randint(5, 25)
        if self._outages.names_dead_hosts:
            count *= 3
        spread_s = dice.choose((0.0, 2.0, 8.0))
        for _ in range(count):
            self._unpublished += 1
            self._agenda.after(dice.between(0.0, spread_s), self._publish_event)

    def _publish_event(self, partition: int | None = None) -> None:
        dice = self._dice
        self._unpublished -= 1
        number = int(dice.random.random() * 5)
        key = b"key-%d" % number if number else None
        if partition is None:
            partition = (number if number else int(dice.random.random() * 8)) % self._partitions
        odd = ODD if self._parts.publisher == "exactly-once" else ODD[:-1]
        value = b"good" if dice.chance(0.7) else dice.choose(odd)
        if dice.chance(0.1):  # a marker or an aborted record: offsets that no reader sees
            self._broker.append_input(partition, Entry(None, b"aborted", 0, marker=dice.chance(0.5), aborted=True))
        offset = self._broker.logs[INPUT, partition].end
        self._oracle.published(Event(partition, offset, key, value))
        made = ((MADE, b"%d" % self._broker.made),)
        self._broker.append_input(partition, Entry(key, value, int(self._agenda.now * 1000), headers=made))

    # ── instances ────────────────────────────────────────────────────────────────────────────────

    def _new_instance(self, name: Name | None = None) -> None:
        if name is None or not name.stable:
            self._made += 1
            name = Name(f"instance-{self._made}", self._stable)
        if self._over:
            return
        self._dice.tell("world", "starts {}", name.name)
        self._instances.append(
            SimulatedInstance(
                name,
                self._agenda,
                self._dice,
                self._broker,
                self._oracle,
                parts=self._parts,
                limits=self._limits,
                assignor=self._assignor,
                longest_s=self._longest_s,
                threads=self._threads,
                outages=self._outages,
                hub=self._hub,
                ended=self._ended,
            )
        )

    def _ended(self, instance: SimulatedInstance, error: BaseException | None) -> None:
        """What an orchestrator does: it starts again what ended by itself."""
        self._dice.tell("world", "{} ended: {!r}", instance.name.name, error)
        if error is not None and not isinstance(error, FatalError | BrokerError | Killed):
            self._oracle.violations.append(f"broke: {error!r}")
            self._over = True
        if error is not None:
            self._restart(instance.name)

    def _restart(self, name: Name) -> None:
        self._agenda.after(self._dice.between(0.1, 5.0), partial(self._start_again, name))

    def _start_again(self, name: Name) -> None:
        if not any(one.name == name and one.alive for one in self._instances):
            self._new_instance(name)

    # ── disturbances ─────────────────────────────────────────────────────────────────────────────

    def _plan_disturbances(self) -> None:
        profile, dice = self._profile, self._dice
        if not profile.most_disturbances:
            return
        kinds = list(profile.disturbances)
        weights = list(profile.disturbances.values())
        within_s = dice.choose((1.0, 5.0, 20.0))
        for _ in range(dice.random.randint(0, profile.most_disturbances)):
            (kind,) = dice.random.choices(kinds, weights)
            self._disturbances += 1
            self._agenda.after(dice.between(0.0, within_s), partial(self._disturb, kind))

    def _disturb(self, kind: Disturbance) -> None:
        self._disturbances -= 1
        alive = [one for one in self._instances if one.alive]
        self._dice.tell("world", "disturbance: {}", kind)
        match kind:
            case "rebalance":
                self._broker.group.shake()
            case "join" if len(alive) < MOST_INSTANCES:
                self._new_instance()
            case "twin" if alive and self._stable:
                # An orchestrator that takes a machine for dead starts its instance elsewhere.
                self._new_instance(self._dice.choose(alive).name)
            case "leave" if alive:
                one = self._dice.choose(alive)
                one.leave()
                if self._dice.chance(0.5):
                    self._restart(one.name)
            case "grow":
                self._partitions += 1
                self._broker.add_partition()
                for _ in range(self._dice.choose((0, 1, 3))):  # more may come by their keys
                    self._unpublished += 1
                    self._publish_event(self._partitions - 1)
            case "remake":
                self._oracle.made += 1
                self._broker.make_again()
                self._publish_events()
            case "kill" if alive:
                one = self._dice.choose(alive)
                one.process.kill()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def _look(self) -> None:
        """Looks whether it is over, and heals what is to be healed."""
        now = self._agenda.now
        self._revive()
        done = not self._unpublished and not self._disturbances and self._oracle.all_committed
        if not self._dice.calm and (done or now >= self._calm_at):
            self._dice.calm = True
            self._dice.tell("world", "nothing goes wrong any more")
            self._calm_at = now
            for one in self._instances:
                one.process.proceed()
        if self._dice.calm:
            settled = now > self._dice.late_until + 1.0 and not self._broker.transactions.any_open and not self._twins()
            if (done and settled) or now > self._calm_at + HEAL_S + LATEST_S:
                self._over = True
        self._agenda.after(LOOK_EVERY_S, self._look)

    def _twins(self) -> list[str]:
        """The names that several processes have, where the group would have fenced the older one."""
        if self._assignor == "consumer":  # there the older ends when it publishes next: it may have nothing to
            return []
        names = Counter(one.name.name for one in self._instances if not one.process.dead)
        return [name for name, count in names.items() if count > 1]

    def _revive(self) -> None:
        """Somebody must be there in the end."""
        self._instances = [one for one in self._instances if not one.process.dead]
        if not any(one.alive for one in self._instances) and self._dice.calm:
            self._new_instance()


def play(
    seed: int,
    profile: str = "everything",
    delivery: Delivery = "exactly-once",
    parts: Parts | None = None,
    *,
    traced: bool = False,
) -> History:
    """One history from its seed."""
    collecting = gc.isenabled()
    gc.disable()  # a greenlet that is collected would run its ``finally`` in the middle of another history
    try:
        return World(seed, profile, delivery, parts, traced=traced).run()
    finally:
        if collecting:
            gc.enable()
