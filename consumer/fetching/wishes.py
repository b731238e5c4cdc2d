"""Whose is a Retry-After: the host's, or only one image's? No clock in here: the time is passed in.

Each fetch that is turned away waits for as long as it was asked to. Whether the others of its host wait as well is
decided here. They have to where the host limits or bans us, since every request would be turned away and might
lengthen the ban; and must not where one URL is always answered so, or whoever publishes it holds up all the others.
The answer itself does not tell, so others' answers do:

* **Nobody has been answered well for a second**, and three in a row were turned away: a ban, or an overload. The host
  rests for as long as it asks, then three more are asked, those first that it has not turned away yet.
* **Others have been answered well just now**: a limit on rate, or one URL's trouble. The host rests for a second at
  most, which is what such limits are counted in. If that helps nobody, if one that has waited is turned away again
  while others are answered well, then it is the URL's own, and the host does not rest for such answers any more, unless
  waiting has helped somebody within a deadline.
"""

from __future__ import annotations

import math

RETRY_AFTER_CAP_S = 5.0
"""A server that asks for more is not waited for. The fetch fails, and a host that turns everybody away rests for so
long."""

IN_A_ROW = 3
"""Answers of this kind in a row before a host that says nothing else rests for what it asks: one URL that fails all
its attempts has as many, two of them together do not show more."""

SILENCE_S = 1.0
"""Without a good answer for so long, a host says nothing else. Also the longest rest of one that does."""


class Wishes:
    """What one host asks for, and what became of it. ``deadline_s`` is FETCH_DEADLINE_S."""

    def __init__(self, deadline_s: float) -> None:
        self._remembered_s = deadline_s
        self._in_a_row = 0
        self._well_at = -math.inf
        self._helped_at = -math.inf
        self._in_vain = False
        self.resume_at = -math.inf
        """Nobody is to ask the host before this."""
        self.all_turned_away = False
        """Whether its last rest was for everybody's sake, and nobody has been answered well since."""

    def turned_away(self, now: float, wish_s: float, *, again: bool) -> None:
        """A fetch is to wait; ``again``: it was asked to before, and has waited."""
        self._in_a_row += 1
        if now - self._well_at >= SILENCE_S:
            if self._in_a_row < IN_A_ROW:
                return
            self.all_turned_away = True
        else:
            self._in_vain = now - self._helped_at > self._remembered_s and (again or self._in_vain)
            if self._in_vain:
                return
            wish_s = min(wish_s, SILENCE_S)
        self._in_a_row = 0
        self.resume_at = max(self.resume_at, now + min(wish_s, RETRY_AFTER_CAP_S))

    def answered_well(self, now: float, *, again: bool) -> None:
        """A fetch was; ``again``: it had been asked to wait before."""
        if again:
            self._helped_at = now
        self._well_at = now
        self._in_a_row = 0
        self.all_turned_away = False
