"""Time in which nobody could be asked since threads had to wait for decoders or for the model."""

from __future__ import annotations


class Jam:
    """Adds it up, in seconds; the time is passed in."""

    def __init__(self) -> None:
        self._ended_s = 0.0
        self._since: float | None = None

    def note(self, now: float, *, jammed: bool) -> None:
        """It is like that from now on."""
        if jammed is (self._since is not None):
            return
        self._ended_s = self.seconds(now)
        self._since = now if jammed else None

    def seconds(self, now: float) -> float:
        """All of it until now."""
        return self._ended_s + (0.0 if self._since is None else now - self._since)
