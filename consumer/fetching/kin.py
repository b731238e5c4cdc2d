"""Which hosts belong together, as far as their names tell.

Whoever owns a domain makes names below it without end, at no cost, and the name of any address is free too. So where
hosts that nobody knows share something, they share it by what costs money: the domain, and all addresses are one.
"""

from __future__ import annotations

ADDRESSES = "an address"
"""The kin of hosts that are named by their address: there are four billion of them, and nobody has to own one."""

_REGISTRIES = frozenset({"ac", "co", "com", "edu", "gov", "go", "ne", "net", "or", "org"})
"""Labels below a country's under which it gives out domains: ``shop.co.uk``. Not the whole public suffix list, which
changes weekly: what is missing here shares a little more than it had to, with its neighbours."""


def kin_of(host: str) -> str:
    """The domain of a host name that `urls.parse` read, or `ADDRESSES`."""
    if ":" in host or host.replace(".", "").isdigit():
        return ADDRESSES
    labels = host.split(".")
    wide = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _REGISTRIES
    return ".".join(labels[-3 if wide else -2 :])
