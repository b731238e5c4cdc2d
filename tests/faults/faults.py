"""The faults: each is done to a run, and undone before it returns.

A fault is a function of a `Run`; those below that take arguments make one. Which instance and which broker
is hurt is drawn from the run's dice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from tests.faults.process import Process
from tests.faults.proxy import Cut

if TYPE_CHECKING:
    from tests.faults.run import Run

Fault = Callable[["Run"], None]

ENDS_S = 20.0
"""How long one that is not needed any more has to find it out."""

Role = Literal["any", "leader", "group coordinator", "transaction coordinator"]
"""Which broker: by what it is to the service."""


# ── instances ────────────────────────────────────────────────────────────────────────────────────


def stop_and_start(run: Run) -> None:
    """SIGTERM, and a start."""
    instance = _one(run)
    began = time.monotonic()
    run.down.add(instance)
    run.ended(instance, instance.stop())
    _bring_back(run, instance, began)


def kill_and_start(run: Run) -> None:
    """SIGKILL at a moment of nobody's choosing, and a start."""
    instance = _one(run)
    began = time.monotonic()
    run.down.add(instance)
    instance.kill()
    _bring_back(run, instance, began)


def fate(run: Run) -> None:
    """Waits until the first instance has met the end that `Scenario.die_at` gave it, and stands again."""
    _await_its_end(run)
    run.instances[0].wait_until_ready(run.asked)


def fate_and(more: Fault) -> Fault:
    """The same, and more at the moment of that end."""

    def fault(run: Run) -> None:
        _await_its_end(run)
        more(run)
        run.instances[0].wait_until_ready(run.asked)

    return fault


def _await_its_end(run: Run) -> None:
    met = run.fates_met  # an end of another kind is told, and the next life has a fate again
    run.wait(lambda: run.fates_met > met or run.complete(), run.size.stall_s)


def freeze(seconds: float) -> Fault:
    """SIGSTOP for so long, then SIGCONT: past its session, the group has given its partitions away."""

    def fault(run: Run) -> None:
        instance = _one(run)
        instance.freeze()
        run.pause(seconds)
        instance.thaw()

    return fault


def succeed(run: Run) -> None:
    """A successor under the name of one that is frozen, and goes on later: it must end, and nobody else notice."""
    former = _one(run)
    run.down.add(former)
    former.freeze()
    run.pause(run.random.uniform(0.0, 4.0))  # within its session or past it
    run.instances[run.instances.index(former)] = successor = run.new_instance(former.name)
    try:
        run.start(successor)
        run.pause(run.random.uniform(0.0, 2.0))
        former.thaw()
        began = time.monotonic()
        if run.wait(lambda: not former.alive, ENDS_S):
            run.measures["former: end"].append(time.monotonic() - began)
        run.outlived(former)
        _quiet(run, began, "return")
    finally:
        former.kill()


def join_and_leave(run: Run) -> None:
    """One instance more, for a while."""
    more = _one_more(run)
    began = time.monotonic()
    run.start(more)
    _quiet(run, began, "join")
    began = time.monotonic()
    run.down.add(more)
    run.ended(more, more.stop())
    _quiet(run, began, "leave")


def join_in_a_cut(run: Run) -> None:
    """One instance more, and the network held while the group makes room for it, past the sessions of all."""
    more = _one_more(run)
    run.start(more, wait=False)
    run.pause(run.random.uniform(0.8, 2.2))  # it is up after 0.7 s or so, and a rebalance takes one or two
    run.arena.proxy.cut(Cut.HELD)
    run.pause(5.0)
    run.arena.proxy.heal()
    more.wait_until_ready(run.asked)
    run.down.add(more)
    run.ended(more, more.stop())


def _one_more(run: Run) -> Process:
    """The instance that comes and goes: those that are there from the start stay."""
    if len(run.instances) == run.scenario.instances:
        run.instances.append(run.new_instance())
        run.down.add(run.instances[-1])
    return run.instances[-1]


def _quiet(run: Run, began: float, name: str) -> None:
    """Lets a rebalance have its effect, and marks the time for the longest silence that a partition had with it."""
    run.pause(2.5)
    run.mark(f"{name}: silence", began)


def _bring_back(run: Run, instance: Process, began: float) -> None:
    run.start(instance)
    ready = time.monotonic()
    if run.scenario.instances == 1:  # else the next outcome may be another's
        # What its former life had committed may still arrive; nothing of this one within its first half second.
        arrived = run.wait_for_outcome_after(instance.started_at + 0.5)
        run.measures["ready to outcome"].append(max(0.0, arrived - ready))
        run.measures["end to outcome"].append(arrived - began)
    run.measures["start to ready"].append(ready - instance.started_at)


# ── brokers ──────────────────────────────────────────────────────────────────────────────────────


def kill_broker(role: Role = "any") -> Fault:
    """kill -9 of a broker, and its return."""

    def fault(run: Run) -> None:
        broker = _broker(run, role)
        run.arena.kafka.kill(broker)
        run.pause(run.random.uniform(1.0, 4.0))
        run.arena.kafka.start(broker)

    return fault


def bounce_broker(role: Role = "any") -> Fault:
    """A clean stop of a broker, as in an upgrade, and its return; then its leaders come home."""

    def fault(run: Run) -> None:
        broker = _broker(run, role)
        run.arena.kafka.stop(broker)
        run.arena.kafka.start(broker)
        run.arena.move_leaders_home()

    return fault


def roll_brokers(run: Run) -> None:
    """A rolling restart, as an upgrade does it: each broker stops cleanly and comes back, the next one when all has its
    copies again; then the leaders come home."""
    for broker in (1, 2, 3):
        run.arena.kafka.stop(broker)
        run.arena.kafka.start(broker)
        run.wait(run.arena.in_sync, run.size.stall_s)
    run.arena.move_leaders_home()


def bounce_all(run: Run) -> None:
    """A clean stop of every broker at once, and their return."""
    run.arena.kafka.stop()
    run.arena.kafka.start()


def pause_broker(seconds: float) -> Fault:
    """A broker that stands for a while: SIGSTOP, as in a long collection of garbage."""

    def fault(run: Run) -> None:
        broker = _broker(run, "any")
        run.arena.kafka.pause(broker)
        run.pause(seconds)
        run.arena.kafka.resume(broker)

    return fault


# ── the network ──────────────────────────────────────────────────────────────────────────────────


def cut(how: Cut, seconds: float) -> Fault:
    """The network between the brokers and the instances that come through the proxy, for so long."""

    def fault(run: Run) -> None:
        run.arena.proxy.cut(how)
        run.pause(seconds)
        run.arena.proxy.heal()
        run.pause(run.random.uniform(0.5, 1.5))

    return fault


# ── together ─────────────────────────────────────────────────────────────────────────────────────


def both(first: Fault, second: Fault) -> Fault:
    """Two at once."""

    def fault(run: Run) -> None:
        failed: list[BaseException] = []

        def beside() -> None:
            try:
                first(run)
            except BaseException as error:  # noqa: BLE001 - raised again below
                failed.append(error)

        other = threading.Thread(target=beside, name="other fault")
        other.start()
        second(run)
        other.join()
        if failed:
            raise failed[0]

    return fault


def calm(run: Run) -> None:
    """Nothing, for a moment: for scenarios whose instances carry their fault in themselves."""
    run.pause(0.5)


WAITING: tuple[Fault, ...] = (fate, calm)
"""They do nothing themselves: what instances do to themselves meanwhile is counted from the journal."""


def _one(run: Run) -> Process:
    """The instance that is hurt. Those behind the first two are for joining and leaving."""
    return run.random.choice(run.running()[: run.scenario.instances])


def _broker(run: Run, role: Role) -> int:
    found = None
    if role == "group coordinator":
        found = run.arena.group_coordinator(run.group)
    elif role == "transaction coordinator":
        found = run.arena.transaction_coordinator(f"{run.group}-instance-1")
    elif role == "leader":
        found = run.arena.leader(f"out-{run.group}", run.random.randrange(6))
    return found or run.random.choice([1, 2, 3])
