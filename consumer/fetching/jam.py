"""Time that is held against no event: nobody could be asked, since threads had to wait for decoders or for the model.

Two watches measure it, each a `Watch`. That of a kind of threads runs in a jam, by the clock. That of a host runs while
the host is not asked, by the seconds of jam: a host that is being asked, or ails, is waited for whatever else there is.
"""

from __future__ import annotations


class Watch:
    """Adds up, in seconds, how long it ran; the time is passed in. It stands at first."""

    def __init__(self) -> None:
        self._before_s = 0.0
        self._since: float | None = None

    @property
    def runs(self) -> bool:
        """Whether it runs now."""
        return self._since is not None

    def note(self, now: float, *, runs: bool) -> None:
        """Whether it runs from now on."""
        if runs is not self.runs:
            self._before_s = self.seconds(now)
            self._since = now if runs else None

    def seconds(self, now: float) -> float:
        """All of it until now."""
        return self._before_s + (0.0 if self._since is None else now - self._since)
