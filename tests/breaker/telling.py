"""What a breaker is told, and who tells it."""

from __future__ import annotations

from consumer.breaker import Breaker
from consumer.evidence import Evidence, evidence
from consumer.suspicion import ASK_AFTER_S

OURS = ("connect_failed", "fetch_timeout", "dns_failed", "model_failed")


def got(host: str = "a") -> Evidence:
    return evidence(f"http://{host}/x.jpg", None)


def recalled(host: str = "a") -> Evidence:
    return evidence(f"http://{host}/x.jpg", None, recalled=True)


def failed(code: str = "connect_failed", host: str = "a") -> Evidence:
    return evidence(f"http://{host}/x.jpg", code, retriable=True)


class Stream:
    """Tells a breaker of one event after the other, ten a second."""

    def __init__(self, **more: float) -> None:
        self.breaker = Breaker(**more)
        self.now = 1000.0
        self.events = 0

    def tell(self, told: Evidence) -> bool:
        self.events += 1
        self.now += 0.1
        return self.breaker.finished(self.events, told, self.now)

    def suspects(self) -> bool:
        return self.breaker.suspects

    def until_open(self, told: Evidence, most: int = 1000) -> int:
        """Tells the same again and again; returns how many failures counted before it opened, or asked in vain."""
        for count in range(most):
            if not self.tell(told):
                return count
            if self.suspects():
                self.ask(reached=False)
                assert self.breaker.cause == "network"
                return count
        raise AssertionError("it did not open")

    def ask(self, *, reached: bool) -> set[str]:
        """Lets it ask whom it wants, who all answer the same; returns them."""
        self.breaker.to_ask(self.now)
        self.now += ASK_AFTER_S
        asked = self.breaker.to_ask(self.now)
        for host, url in asked.items():
            assert url == f"http://{host}/"
            self.breaker.answered(host, got(host) if reached else failed(host=host), self.now)
        return set(asked)

    def probe(self, told: Evidence, event: object = "probe") -> bool:
        self.now = max(self.now, self.breaker.probe_at)
        self.breaker.probe(event)
        return self.breaker.finished(event, told, self.now)
