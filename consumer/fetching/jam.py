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

    @property
    def is_on(self) -> bool:
        """Whether there is one now."""
        return self._since is not None

    def seconds(self, now: float) -> float:
        """All of it until now."""
        return self._ended_s + (0.0 if self._since is None else now - self._since)


class Spared:
    """What those in a host's line have waited for our own sake: as much of a jam as the host was not asked meanwhile.

    A host that is being asked, or ails, is waited for whatever else there is.
    """

    def __init__(self) -> None:
        self._asked = True
        self._seconds = 0.0
        self._jam_s = 0.0

    def note(self, jam_s: float, *, asked: bool) -> None:
        """Whether it is asked from now on, or ails; there have been so many seconds of jam until now."""
        if asked is not self._asked:
            self._seconds = self.seconds(jam_s)
            self._asked, self._jam_s = asked, jam_s

    def seconds(self, jam_s: float) -> float:
        """All of it, now that there have been so many seconds of jam."""
        return self._seconds + (0.0 if self._asked else jam_s - self._jam_s)
