"""Progress, not reachability: whether the process is alive, and whether it is ready.

Alive means that the loop turns and that work in flight moves. A quiet topic, a broker that is away, a
long pause and a slow image leave the loop turning, so none of them is stuck: restarting the process
would not help. Ready means that the model is warm, the group is joined and nobody holds the service
back; every reason for not being ready has a name.

The stream loop reports; the HTTP endpoint and the watchdog read. All of it is thread-safe, and a report
takes less than a microsecond.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

Phase = Literal["starting", "running", "stopping"]
HoldName = Literal["group", "offsets", "brokers", "breaker"]
"""Who may hold a service back that runs: it is not in the group, partitions do not begin, brokers take nothing, the
breaker is open."""
ReasonName = Literal["starting", "stopping", "start_stuck", "loop_stuck", "work_stuck", HoldName]

STARTING_LIMIT_S: Final = 900.0
"""How long one step of the start may take before the process counts as stuck. Loading, compiling and
measuring a model on a slow and busy machine takes minutes; a quarter of an hour is no load any more."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the service is not alive or not ready: a stable ``name`` for machines, a ``text`` for people,
    and for how many seconds this has been so."""

    name: ReasonName
    text: str
    for_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `Health` says. ``reasons`` is empty exactly if it is ``ok``."""

    phase: Phase
    reasons: tuple[Reason, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the answer is yes."""
        return not self.reasons

    @property
    def reason(self) -> str:
        """All reasons as one line."""
        return "; ".join(f"{one.text} (for {one.for_s:.0f} s)" for one in self.reasons) or "ok"

    def to_json(self) -> dict[str, Any]:
        """The body of ``/livez`` and ``/readyz``."""
        return {
            "ok": self.ok,
            "phase": self.phase,
            "reason": self.reason,
            "reasons": [{"name": one.name, "text": one.text, "for_s": round(one.for_s, 1)} for one in self.reasons],
        }


class Health:
    """Keeps what the rooms report, and judges it when asked.

    It begins in the phase ``starting``. The loop calls `beat` at every turn, also while it waits for a
    broker, so no single call of it may last as long as ``stuck_after_s``.

    Args:
        stuck_after_s: how long the loop or the work in flight may stand still.
        starting_limit_s: the same for one step of the start.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        stuck_after_s: float,
        *,
        starting_limit_s: float = STARTING_LIMIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stuck_after_s = stuck_after_s
        self._starting_limit_s = starting_limit_s
        self._clock = clock
        self._lock = threading.Lock()
        self._phase: Phase = "starting"
        self._step = ("starting", clock())
        self._holds: dict[HoldName, tuple[str, float]] = {}
        self._beat_at = clock()
        self._moved_at = clock()
        self._in_flight = 0
        self._when_ready: Callable[[], object] | None = None
        self._longest_call_s: Callable[[], float] = lambda: 0.0

    def watch_model(self, longest_call_s: Callable[[], float]) -> None:
        """Of several calls side by side one may hang while the others go on: asks how long the longest takes already,
        in seconds, whenever it judges."""
        self._longest_call_s = longest_call_s

    def when_ready(self, call: Callable[[], object]) -> None:
        """Has ``call`` called once, on the thread that makes the service ready for the first time."""
        self._when_ready = call

    # ── what happens ─────────────────────────────────────────────────────────────────────────────

    def starting(self, step: str) -> None:
        """A step of the start begins, such as ``loading the model``."""
        with self._lock:
            self._phase = "starting"
            self._step = (step, self._clock())

    def running(self) -> None:
        """The model is warm and the loop begins to turn; nothing happens if it was asked to end meanwhile."""
        with self._lock:
            if self._phase == "stopping":
                return
            self._phase = "running"
            self._beat_at = self._moved_at = self._clock()

    def stopping(self) -> None:
        """The process was asked to end. From here on it is not ready, and alive until it is gone."""
        with self._lock:
            self._phase = "stopping"
            self._step = ("stopping", self._clock())

    def beat(self, in_flight: int = 0) -> None:
        """The loop turned once, with so many events being fetched, decoded or predicted.

        Outcomes that wait for the broker do not belong to them: a broker that is away is not stuck work.
        """
        with self._lock:
            self._beat_at = self._clock()
            if in_flight == 0 or self._in_flight == 0:
                self._moved_at = self._beat_at  # nothing to move, or it begins only now
            self._in_flight = in_flight

    def progressed(self) -> None:
        """An event in flight finished, well or badly."""
        with self._lock:
            self._moved_at = self._clock()

    def hold(self, name: HoldName, text: str) -> None:
        """The service is not ready, for a reason called ``name``, until it is released."""
        with self._lock:
            since = self._holds[name][1] if name in self._holds else self._clock()
            self._holds[name] = (text, since)

    def release(self, name: HoldName) -> None:
        """The reason called ``name`` is gone; nothing happens if it was not there."""
        with self._lock:
            self._holds.pop(name, None)
            ready = self._phase == "running" and not self._holds
            call, self._when_ready = (self._when_ready, None) if ready else (None, self._when_ready)
        if call is not None:
            call()

    # ── what follows ─────────────────────────────────────────────────────────────────────────────

    def live(self) -> Verdict:
        """Whether the process moves; if not, only a restart helps."""
        with self._lock:
            return Verdict(self._phase, self._stuck(self._clock()))

    def ready(self) -> Verdict:
        """Whether the process does its work now."""
        with self._lock:
            now = self._clock()
            reasons = list(self._stuck(now))
            step, since = self._step
            if self._phase == "stopping" or (self._phase == "starting" and not reasons):
                reasons.append(Reason(self._phase, step, now - since))
            reasons += [Reason(name, text, now - held) for name, (text, held) in self._holds.items()]
            return Verdict(self._phase, tuple(reasons))

    def _stuck(self, now: float) -> tuple[Reason, ...]:
        if self._phase == "starting":
            step, since = self._step
            if now - since > self._starting_limit_s:
                return (Reason("start_stuck", f"the start does not get past: {step}", now - since),)
        if self._phase != "running":
            return ()  # a stop has a budget of its own, DRAIN_S, after which the process is gone
        if now - self._beat_at > self._stuck_after_s:
            return (Reason("loop_stuck", "the stream loop does not turn", now - self._beat_at),)
        if self._in_flight and now - self._moved_at > self._stuck_after_s:
            text = f"none of the {self._in_flight} events in flight gets finished"
            return (Reason("work_stuck", text, now - self._moved_at),)
        if (took_s := self._longest_call_s()) > self._stuck_after_s:
            return (Reason("work_stuck", "a call of the model does not end", took_s),)
        return ()


def dump_stacks(logger: logging.Logger, why: str) -> None:
    """Logs where every thread stands, in one record, so that a hang can be told from its log."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks = [
        f"thread {names.get(ident, ident)}:\n" + "".join(traceback.format_stack(frame))
        # There is no public way to another thread's frame; faulthandler cannot write to a logger.
        for ident, frame in sys._current_frames().items()
    ]
    logger.critical("%s; all threads:\n%s", why, "\n".join(stacks))
