"""Free ports for brokers that must be able to come back to them."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

LOWEST = 15_000


def free_ports(count: int) -> list[int]:
    """Distinct free TCP ports on 127.0.0.1, below the range that the kernel gives to outgoing connections.

    From inside that range a client could hold the port of a broker that is down for a moment, even a
    client that tries to reach it there. They are drawn at random, so that two test runs on one machine
    hardly meet; a run that loses that race sees its broker refuse to start.
    """
    candidates = list(range(LOWEST, _ephemeral_start()))
    secrets.SystemRandom().shuffle(candidates)
    found: list[int] = []
    for port in candidates:
        with socket.socket() as probe:
            # As the broker does it: a port whose old connections still linger is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"fewer than {count} free ports from {LOWEST} to {_ephemeral_start()}")


def _ephemeral_start() -> int:
    """First port of the kernel's range; 32768 (Linux's usual one) where it cannot be read or leaves no room."""
    try:
        start = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    except OSError:
        return 32_768
    return start if start > LOWEST + 1_000 else 32_768
