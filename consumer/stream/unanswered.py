"""Brokers that answer nothing: what ``/readyz`` says of it.

A broker that is away makes the clients complain; one that is frozen, or cut off without a word, does not: its calls
just run out of time. What tells both is that finished outcomes stay with us; and where there are none, as with a member
that holds no partition, that the looks at the topic are not answered.
"""

from __future__ import annotations

from typing import Final

from consumer.health import Health

UNANSWERED_S: Final = 10.0
"""How long nothing may be committed while outcomes wait. One publication takes some 10 ms, a leader or a coordinator
that moves a few seconds."""

WAIT: Final = "finished outcomes wait"


class Unanswered:
    """Holds the service's readiness from then on, until an outcome is committed, or none waits any more and looks are
    answered. So it does not flap: while the brokers answer nothing, neither happens."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._since: float | None = None
        self._told = ""
        self._why = ""
        self._heard = False  # something was committed although looks are not answered

    def look(self, now: float, *, waiting: bool, in_vain: bool) -> None:
        """Called at every turn, in monotonic seconds: whether outcomes wait to be committed, and whether the brokers
        have left the last looks at the topic without an answer."""
        if not waiting:
            self._since = None
        elif self._since is None:
            self._since = now
        self._heard = self._heard and in_vain
        if self._since is not None and now - self._since > UNANSWERED_S:
            if not self._told.startswith(WAIT):  # said once, though each attempt may fail for another reason
                why = f" ({self._why})" if self._why else ""
                self._tell(f"{WAIT}: the brokers have committed none for more than {UNANSWERED_S:.0f} s{why}")
        elif in_vain and not self._heard:
            self._tell("the brokers do not answer")
        else:
            self._tell("")

    def failed(self, why: str) -> None:
        """Outcomes did not get through."""
        self._why = why

    def committed(self) -> None:
        """Outcomes got through."""
        self._since = None
        self._why = ""
        self._heard = True
        self._tell("")

    def _tell(self, text: str) -> None:
        """Says why the service is not ready; an empty text says that nothing holds it here."""
        if text == self._told:
            return
        self._told = text
        if text:
            self._health.hold("brokers", text)
        else:
            self._health.release("brokers")
