"""Fetching what strangers name: no address that it should not touch, no time and no size past its bounds.

From the outside in: `fetcher` has the threads, and `lines` in front of them, which know from `standing` how
each host does; an `errand` follows redirects and tries again; `adapter` is one exchange below `requests`;
`connections` lends it one, `guard` makes it, to an address that it has judged; `http1` reads the answer from
`wire`, a socket that keeps the deadline and counts bytes.
"""

from consumer.fetching.errand import Fetched
from consumer.fetching.fetcher import Fetcher

__all__ = ["Fetched", "Fetcher"]
