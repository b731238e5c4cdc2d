"""Outcomes that the brokers do not take: what ``/readyz`` says of it.

A broker that is away makes the clients complain; one that is frozen, or cut off without a word, does not: its calls
just run out of time. What tells both is that finished outcomes stay with us.
"""

from __future__ import annotations

from typing import Final

from consumer.health import Health

UNANSWERED_S: Final = 10.0
"""How long nothing may be committed while outcomes wait. One publication takes some 10 ms, a leader or a coordinator
that moves a few seconds."""


class Unanswered:
    """Holds the service's readiness from then on, until an outcome is committed or none waits any more. So it does not
    flap: while the brokers answer nothing, neither happens."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._since: float | None = None
        self._told = False

    def look(self, now: float, *, waiting: bool) -> None:
        """Called at every turn, in monotonic seconds: whether outcomes wait to be committed."""
        if not waiting:
            self.committed()
        elif self._since is None:
            self._since = now
        elif now - self._since > UNANSWERED_S and not self._told:
            self._told = True
            text = f"finished outcomes wait: the brokers have committed none for more than {UNANSWERED_S:.0f} s"
            self._health.hold("brokers", text)

    def committed(self) -> None:
        """Outcomes got through."""
        self._since = None
        if self._told:
            self._told = False
            self._health.release("brokers")
