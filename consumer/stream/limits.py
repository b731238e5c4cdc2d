"""What the stream core may hold, and how it paces publications."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """See the module's text. What they mean is decided in `consumer.stream.flow` and `consumer.stream.pace`."""

    in_flight: int = 64
    """Most events being worked on."""
    queued: int = 256
    """Most events waiting to be worked on."""
    held_bytes: int = 64 * 2**20
    """Most bytes of events and outcomes, over all partitions."""
    held_each: int = 10_000
    """Most events of one partition between arrival and commit: how far work runs ahead of its front."""
    publish_outcomes: int = 1_000
    """Most outcomes in one publication."""
    publish_bytes: int = 4 * 2**20
    """Most bytes in one publication, unless a single outcome is larger."""
    publish_pause_s: float = 0.05
    """Least time from the end of one publication to the next under load: a flood is published in twenty transactions a
    second."""
    publish_pause_late_s: float = 0.25
    """Where all outcomes that wait took long, a tenth of what the last to come took is paused, up to this: a backlog is
    published in four transactions a second, however few its outcomes are (Xception gives 77 a second on two cores)."""
    publish_pause_each_s: float = 0.01
    """The pause for each outcome of the one before, if that is less than `publish_pause_s`: those that come singly wait
    for next to nothing. A transaction costs service and broker some 10 ms of CPU, which is there where events are quick
    and few."""
    retry_pause_s: float = 0.1
    """Pause after the first failed publication; it doubles from failure to failure, up to 5 s."""
