"""Fetching what strangers name: no address that it should not touch, no time and no size past its bounds.

From the outside in: `fetcher` follows redirects and tries again, `adapter` is one exchange below
`requests`, `hosts` lends it a connection, `guard` makes one to an address that it has judged, `wire` is
its socket, which keeps the deadline and counts bytes.
"""

from consumer.fetching.fetcher import Fetched, Fetcher

__all__ = ["Fetched", "Fetcher"]
