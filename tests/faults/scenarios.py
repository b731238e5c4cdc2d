"""What goes wrong, a scenario a line.

The small form (`make test`) runs those that are not ``large_only``; `make chaos` runs them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.faults.faults import (
    Fault,
    both,
    bounce_all,
    bounce_broker,
    calm,
    cut,
    fate,
    fate_and,
    freeze,
    join_and_leave,
    join_in_a_cut,
    kill_and_start,
    kill_broker,
    pause_broker,
    roll_brokers,
    stop_and_start,
    succeed,
)
from tests.faults.proxy import Cut

SHORT = {"KAFKA_SESSION_TIMEOUT_MS": "3000", "KAFKA_PRODUCER_TRANSACTION_TIMEOUT_MS": "5000"}
"""Sessions and transactions that end soon, where the time itself is not what is measured."""

FATAL, FENCED = 5, "Static consumer fenced by other consumer"
"""The service's exit code, and librdkafka's words."""

DEFAULT_SESSION_MS = 10_000
"""What the service asks for by itself (`consumer.stream.clients`)."""

LONGEST_SILENCE = "longest silence"
"""What may be bounded in every scenario, without a fault that measures it."""

PROTOCOLS: Mapping[str, Mapping[str, str]] = {
    "cooperative": {},
    "range": {"KAFKA_PARTITION_ASSIGNMENT_STRATEGY": "range"},
    "consumer": {"KAFKA_GROUP_PROTOCOL": "consumer"},
}


@dataclass(frozen=True)
class Scenario:
    """One line of the table.

    Attributes:
        name: as on the command line.
        faults: done in turn, again and again as long as events are published.
        instances: how many there are from the start.
        stable: each has an INSTANCE_ID.
        die_at: the first instance kills itself at this point of `tests.faults.fate`, life after life.
        passages: the least and most passages of the point before it does.
        options: for every instance, see `tests.faults.instance`.
        proxied: whose way to the brokers leads through the proxy.
        settings: more environment variables.
        bounds: measured times whose median must not be longer, in seconds.
        rounds: how often the faults are done at least, also when everything is published.
        only_broker: it stands on a single broker of its own.
        hurts_brokers: no other run may stand on the same brokers meanwhile.
        large_only: too long for `make test`.
    """

    name: str
    faults: tuple[Fault, ...]
    instances: int = 2
    stable: bool = True
    delivery: Literal["exactly-once", "at-least-once"] = "exactly-once"
    die_at: str = ""
    passages: tuple[int, int] = (1, 15)
    options: tuple[str, ...] = ()
    proxied: Literal["none", "first", "all"] = "none"
    settings: Mapping[str, str] = field(default_factory=dict)
    bounds: Mapping[str, float] = field(default_factory=dict)
    rounds: int = 1
    only_broker: bool = False
    hurts_brokers: bool = False
    large_only: bool = False

    def excuses(self, code: int, error: str, away_s: float) -> bool:
        """Whether an instance may end like that: its exit code, the last error in its log, and for how many seconds its
        group's coordinator has not answered others either.

        A member with a stable name that does not reach its coordinator for as long as its session joins again as if
        it were new, and the group refuses what the old one had still on its way: FENCED_INSTANCE_ID, which is fatal
        (librdkafka #3437, open since 2021). Nobody can tell that from a real successor, so the process ends with 5
        and is started again.
        """
        hurt = self.hurts_brokers or self.proxied != "none"
        session_s = float(self.settings.get("KAFKA_SESSION_TIMEOUT_MS", DEFAULT_SESSION_MS)) / 1000
        coordinator_was_away = hurt or away_s > 2 / 3 * session_s  # three brokers on a machine that stood still
        return self.stable and coordinator_was_away and code == FATAL and FENCED in error

    @property
    def must_happen(self) -> tuple[str, ...]:
        """What its instances must have done to themselves, as `tests.faults.journal` has it: else it says nothing."""
        died = (f"died {self.die_at}",) if self.die_at else ()
        aborted = ("aborted",) if "--abort-every" in self.options else ()
        lost = ("lost an answer",) if "--lose-answer-every" in self.options else ()
        return died + aborted + lost


def under(protocol: str, scenario: Scenario, *, large_only: bool = True) -> Scenario:
    """The same under another group protocol."""
    settings = {**scenario.settings, **PROTOCOLS[protocol]}
    if protocol == "consumer":  # there the broker decides, and the client refuses to be told
        settings.pop("KAFKA_SESSION_TIMEOUT_MS", None)
    return replace(scenario, name=f"{scenario.name}-{protocol}", settings=settings, large_only=large_only)


def at_least_once(scenario: Scenario) -> Scenario:
    """The same with the cheaper promise."""
    return replace(scenario, name=f"{scenario.name}-alo", delivery="at-least-once", bounds={})


def die(point: str, most: int) -> Scenario:
    """SIGKILL at a named point."""
    return Scenario(f"kill-{point}", (fate,), die_at=point, passages=(max(1, most // 4), most), settings=SHORT)


def brokers(
    name: str, fault: Fault, *, proxied: Literal["none", "first"] = "none", large_only: bool = False
) -> Scenario:
    """A fault of the brokers."""
    return Scenario(name, (fault,), proxied=proxied, settings=SHORT, hurts_brokers=True, large_only=large_only)


STOP = Scenario("stop", (stop_and_start,))
KILL = Scenario("kill", (kill_and_start,))
ZOMBIE = Scenario("zombie", (freeze(5.5),), stable=False, settings=SHORT)
CHURN = Scenario("joins-and-leaves", (join_and_leave,), stable=False, settings=SHORT)
ABORTS = Scenario("aborts", (calm, kill_and_start), options=("--abort-every", "3"), settings=SHORT)
# A transaction with its offsets handed over is left open, and whoever takes the coordinator's place must know of it.
LEFT_OPEN = replace(
    die("after-send-offsets", 15),
    name="kill-after-send-offsets-and-bounce",
    faults=(fate_and(bounce_broker("group coordinator")),),
    stable=False,
    hurts_brokers=True,
    large_only=True,
)
BROKER_KILL = brokers("broker-kill", kill_broker())
# Everything is away at once, then everything is asked for at once; and transactions may hang (`stream/hanging.py`).
ONLY_BROKER = Scenario(
    "only-broker-bounce",
    (bounce_all,),
    stable=False,
    settings=SHORT,
    bounds={LONGEST_SILENCE: 45.0},
    only_broker=True,
    hurts_brokers=True,
    large_only=True,
)
CUT_ONE = Scenario("cut-one", (cut(Cut.HELD, 5.0),), stable=False, proxied="first", settings=SHORT)

SCENARIOS: tuple[Scenario, ...] = (
    # How soon it is back, with the service's own defaults.
    Scenario("back-stable", (kill_and_start,), instances=1, bounds={"ready to outcome": 2.0}),
    Scenario("back-made-up", (kill_and_start,), instances=1, stable=False, bounds={"end to outcome": 12.0}),
    Scenario(
        "planned", (join_and_leave,), stable=False, bounds={"join: silence": 2.0, "leave: silence": 2.0}, rounds=3
    ),
    # Instances.
    STOP,
    KILL,
    die("after-poll", 20),
    die("after-fetch", 60),
    die("after-predict", 20),
    die("after-produce", 60),
    die("after-send-offsets", 15),
    die("during-commit", 15),
    die("after-commit", 15),
    ZOMBIE,
    replace(die("after-revoke", 1), name="kill-during-rebalance"),
    replace(ZOMBIE, name="zombie-stable", stable=True),
    # What librdkafka itself had queued when it was frozen may still fence the successor (docs/delivery.md).
    Scenario("successor", (succeed,), settings=SHORT, large_only=True),
    CHURN,
    # Transactions.
    ABORTS,
    Scenario("lost-answers", (calm,), options=("--lose-answer-every", "4"), settings=SHORT),
    # Brokers.
    replace(BROKER_KILL, large_only=True),
    brokers("broker-bounce", bounce_broker("leader"), large_only=True),
    brokers("group-coordinator-bounce", bounce_broker("group coordinator")),
    brokers("broker-pause", pause_broker(4.0), large_only=True),
    brokers("group-coordinator-kill", kill_broker("group coordinator")),
    brokers("rolling-restart", roll_brokers, large_only=True),
    LEFT_OPEN,
    replace(LEFT_OPEN, name="kill-after-send-offsets-and-bounce-stable", stable=True),
    ONLY_BROKER,
    replace(ONLY_BROKER, name="only-broker-bounce-stable", stable=True),
    brokers("transaction-coordinator-kill", kill_broker("transaction coordinator")),
    # The network.
    Scenario("cut-all", (cut(Cut.HELD, 5.0), cut(Cut.CLOSED, 2.0)), proxied="all", settings=SHORT),
    CUT_ONE,
    Scenario("cut-while-joining", (join_in_a_cut,), proxied="all", settings=SHORT, large_only=True),
    Scenario("cut-answers", (cut(Cut.ANSWERS_HELD, 4.0),), proxied="all", settings=SHORT),
    # Two at once.
    brokers("broker-kill-and-kill", both(kill_broker(), kill_and_start)),
    Scenario("zombie-and-churn", (both(freeze(5.0), join_and_leave),), settings=SHORT, large_only=True),
    brokers("broker-bounce-and-cut", both(bounce_broker(), cut(Cut.HELD, 4.0)), proxied="first", large_only=True),
    # The other group protocols.
    under("range", CHURN, large_only=False),
    under("consumer", CHURN, large_only=False),
    under("consumer", KILL, large_only=False),
    under("range", ZOMBIE),
    under("consumer", replace(ZOMBIE, faults=(freeze(12.0),))),
    under("range", KILL),
    under("consumer", CUT_ONE),
    # The cheaper promise.
    at_least_once(die("after-send-offsets", 10)),
    at_least_once(KILL),
    at_least_once(CHURN),
    at_least_once(replace(ZOMBIE, large_only=True)),
    at_least_once(replace(BROKER_KILL, large_only=True)),
)

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
