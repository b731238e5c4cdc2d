"""One process of the service: a greenlet that runs until it waits, and may be killed or stopped there.

Each call of a client that speaks to a broker ends in `Process.ask`, where the dice say what happens to
the request, to its answer, and to the process meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import KafkaError
from greenlet import getcurrent, greenlet

from tests.simulation.agenda import Agenda
from tests.simulation.answers import AGAIN, Killed, Refused, TimedOut
from tests.simulation.dice import Dice, Fate, Kind

T = TypeVar("T")

RESEND_S = 0.225
"""How soon librdkafka sends a request again at the soonest: the transactional producer's back-off of 300 ms
(`consumer.stream.clients`), less its jitter of a quarter."""

LATE_S, LATEST_S = 0.5, 2.0
"""How late an idle wait ends at first, and at most: as long as a revocation waits for work in flight, and less than a
session, so that no loop looks stuck."""


class Process:
    """A program that runs by itself, one at a time with all others.

    Args:
        program: what it runs.
        ended: told of its end: of what it raised (`Killed` if it was), or null.
        hub: the greenlet that turns the agenda.
    """

    def __init__(
        self,
        name: str,
        agenda: Agenda,
        dice: Dice,
        program: Callable[[], None],
        ended: Callable[[BaseException | None], None],
        *,
        hub: greenlet,
    ) -> None:
        self.name = name
        self.dead = False
        self.stopped = False
        self.fenced = False
        """Whether it was told that another process has its name."""
        self.seated = False
        """Whether it has ever had its name's place in the group."""
        self.stops = 0
        """How often it was stopped so far: a session that a stop has ended is known by this number."""
        self.on_stop: Callable[[], None] = lambda: None
        self.on_kill: Callable[[], None] = lambda: None
        self._agenda = agenda
        self._dice = dice
        self._program = program
        self._ended = ended
        self._hub = hub
        self._greenlet = greenlet(self._run, parent=hub)
        self._listening = False
        self._late_s = 0.0
        self._turn = 0  # each wait has a number, so that what would wake an earlier one is ignored
        self._missed: list[Callable[[], None]] = []  # what happens to it once it runs again

    # ── from outside ─────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Begins to run."""
        self._resume(self._turn)

    def kill(self) -> None:
        """SIGKILL."""
        if self.dead:
            return
        self._dice.tell(self.name, "is killed")
        self.dead = True
        self.on_kill()
        self._ended(Killed())
        if getcurrent() is self._greenlet:
            raise Killed
        if self._greenlet:
            self._greenlet.throw(Killed)

    def stop(self, for_s: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        if self.dead or self.stopped:
            return
        self._dice.tell(self.name, "is stopped for {:.1f} s", for_s)
        self.stopped = True
        self.stops += 1
        self.on_stop()
        self._agenda.after(for_s, self.proceed)

    def proceed(self) -> None:
        """SIGCONT."""
        if self.dead or not self.stopped:
            return
        self._dice.tell(self.name, "goes on")
        self.stopped = False
        missed, self._missed = self._missed, []
        for do in missed:
            self._agenda.after(self._dice.short(), partial(self.background, do))

    def background(self, do: Callable[[], None]) -> None:
        """Something that its other threads do, now, or when it runs again."""
        if self.dead:
            return
        if self.stopped:
            self._missed.append(do)
        else:
            do()

    def wake(self) -> None:
        """Ends its wait, if it waits for news."""
        self._late_s = 0.0
        if self._listening and not self.dead:
            self._listening = False
            self._agenda.after(0.0, partial(self._resume, self._turn))

    # ── from inside ──────────────────────────────────────────────────────────────────────────────

    def wait(self, seconds: float, *, idle: bool = False) -> None:
        """Sleeps until then, or until it is woken.

        Args:
            idle: it only looks around. A thread may always wake late, and whatever is new wakes this one, so nothing
                is missed when it sleeps longer: each time twice as long as before, as long as there is nothing new.
        """
        if self.dead:
            raise Killed
        if idle:
            self._late_s = min(LATEST_S, max(LATE_S, 2 * self._late_s))
            seconds += self._late_s
        self._agenda.after(seconds, partial(self._resume, self._turn))
        self._listening = True
        self._switch()
        self._listening = False

    def ask(self, request: str, do: Callable[[], T], timeout_s: float, *, weight: float = 1.0) -> T:
        """Sends a request and waits for the answer; sends it again as long as librdkafka would.

        Raises:
            Refused: the broker's answer, if it is none that librdkafka tries again.
            TimedOut: there was none in time.
        """
        deadline = self._agenda.now + timeout_s
        while True:
            if self.dead:
                raise Killed
            fate = self._dice.fate(request, weight)
            try:
                if self._dice.trace is not None:
                    self._dice.tell(self.name, "{}: {}", request, fate or "all is well")
                if fate is None:
                    return self._answer(do, self._dice.short())
                return self._suffer(fate, do, deadline)
            except Refused as answer:
                self._dice.tell(self.name, "{} is refused: {}", request, KafkaError(answer.code).name())
                if answer.code not in AGAIN:
                    raise
            if self._agenda.now >= deadline:
                raise TimedOut
            self._pass(min(self._dice.between(0.02, 0.5), deadline - self._agenda.now))

    def check(self) -> None:
        """Nothing runs in a process that is dead."""
        if self.dead:
            raise Killed

    def hiccup(self, kind: Kind, lasts_s: float) -> None:
        """Something happens to it between two calls."""
        if kind == "crash":
            self.kill()
        if kind == "stop":
            self._agenda.after(0.0, partial(self.stop, lasts_s))
            lasts_s = 0.0
        self._pass(lasts_s)

    def post(
        self,
        request: str,
        do: Callable[[], object],
        answer: Callable[[int | None], None],
        after_s: float,
        limit_s: float,
    ) -> None:
        """Sends a request and goes on; ``answer`` is called with the error code, or null, when there is one."""

        def perform(tell: bool) -> None:
            found = None
            try:
                do()
            except Refused as refused:
                found = refused.code
            if tell:
                self.background(partial(answer, found))

        fate = self._dice.fate(request, 1.0)
        if self._dice.trace is not None:
            self._dice.tell(self.name, "{} (sent): {}", request, fate or "all is well")
        if fate is None or fate.kind in ("stop", "slow", "crash"):
            after_s += fate.lasts_s if fate is not None and fate.kind == "slow" else 0.0
            self._agenda.after(after_s, partial(perform, True))
        elif fate.done_s is not None:
            self._agenda.after(fate.done_s, partial(perform, False))
        if fate is not None:
            code = fate.code if fate.kind == "error" else int(KafkaError._TIMED_OUT)
            match fate.kind:
                case "crash":
                    self._agenda.after(self._dice.between(0.0, 0.02), self.kill)
                case "stop":
                    self._agenda.after(0.0, partial(self.stop, fate.lasts_s))
                case "lost" | "unanswered" | "late" | "error":
                    wait_s = 0.01 if fate.kind == "error" else self._dice.between(0.3, limit_s)
                    self._agenda.after(wait_s, lambda: self.background(partial(answer, code)))

    # ── inside ───────────────────────────────────────────────────────────────────────────────────

    def _suffer(self, fate: Fate, do: Callable[[], T], deadline: float) -> T:
        if fate.kind == "stop":
            self._agenda.after(0.0, partial(self.stop, fate.lasts_s))
            return self._answer(do, self._dice.short())
        if fate.kind == "slow":
            if self._agenda.now + fate.lasts_s < deadline:
                return self._answer(do, fate.lasts_s)
            self._agenda.after(fate.lasts_s, partial(_quietly, do))
        elif fate.done_s is not None:
            self._agenda.after(fate.done_s, partial(_quietly, do))
        if fate.kind == "crash":
            self._pass(self._dice.between(0.0, 0.02))
            self.kill()
        if fate.kind == "error":
            self._pass(0.01)
            raise Refused(fate.code)
        # Where the connection is seen to break, librdkafka sends again by itself, after its back-off, also what is
        # still on its way to the broker; else the time runs out.
        resend = fate.kind in ("lost", "unanswered", "late") and self._dice.chance(0.4)
        left_s = max(0.0, deadline - self._agenda.now)
        self._pass(min(RESEND_S, left_s) if resend else left_s)
        if resend:
            return self._resent(do, deadline)
        raise TimedOut

    def _resent(self, do: Callable[[], T], deadline: float) -> T:
        if self._agenda.now >= deadline:
            raise TimedOut
        self._dice.tell(self.name, "sends it again")
        return self._answer(do, self._dice.short())

    def _answer(self, do: Callable[[], T], after_s: float) -> T:
        """The request takes effect then, and the answer is there."""
        box: list[Any] = []
        turn = self._turn

        def perform() -> None:
            try:
                box.append(do())
            except Refused as refused:
                box.append(refused)
            self._resume(turn)

        self._agenda.after(after_s, perform)
        self._switch()
        if isinstance(box[0], Refused):
            raise box[0]
        return box[0]  # type: ignore[no-any-return] # what `do` has returned

    def _pass(self, seconds: float) -> None:
        """Lets time go by, deaf to news."""
        self._agenda.after(seconds, partial(self._resume, self._turn))
        self._switch()

    def _switch(self) -> None:
        self._hub.switch()
        if self.dead:
            raise Killed

    def _resume(self, turn: int) -> None:
        if turn != self._turn or self.dead:
            return
        if self.stopped:
            self._missed.append(partial(self._resume, turn))
            return
        self._turn += 1
        self._greenlet.switch()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._program()
        except Killed:
            return
        except BaseException as raised:  # noqa: BLE001 - judged by the world
            error = raised
        self.dead = True
        self._ended(error)


def _quietly(do: Callable[[], object]) -> None:
    """A request whose answer nobody waits for."""
    try:
        do()
    except Refused:
        return
