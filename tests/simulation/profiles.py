"""What may go wrong in a history, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tests.simulation.dice import Kind

Disturbance = Literal["rebalance", "join", "leave", "kill", "twin", "grow", "remake"]


@dataclass(frozen=True, slots=True)
class Profile:
    """``faults`` befall single requests, ``disturbances`` the world; both with their weights."""

    faults: dict[Kind, float] = field(default_factory=dict)
    disturbances: dict[Disturbance, float] = field(default_factory=dict)
    most_faults: int = 0
    most_disturbances: int = 0
    most_outages: int = 0
    """Of the network, the resolver, the model or one host; with any, there are more events."""


PROFILES: dict[str, Profile] = {
    "quiet": Profile(),
    "answers": Profile({"lost": 1, "unanswered": 2, "late": 2, "error": 2, "slow": 1}, {}, 6),
    "crashes": Profile({"crash": 3, "slow": 1}, {"kill": 2, "join": 1}, 4, 3),
    "rebalances": Profile({"slow": 1}, {"rebalance": 3, "join": 2, "leave": 2, "grow": 1}, 3, 6),
    "zombies": Profile({"stop": 3, "late": 1}, {"join": 1, "leave": 1, "twin": 2}, 3, 3),
    "outages": Profile(
        {"late": 1, "error": 1, "slow": 1, "crash": 1, "stop": 1},
        {"rebalance": 2, "join": 1, "leave": 1, "kill": 1},
        3,
        4,
        most_outages=2,
    ),
    "remade": Profile(
        {"late": 1, "slow": 1, "crash": 1, "stop": 1},
        {"remake": 3, "rebalance": 2, "join": 1, "leave": 1, "kill": 1},
        3,
        5,
    ),
    "everything": Profile(
        {"lost": 1, "unanswered": 2, "late": 2, "error": 2, "slow": 1, "crash": 2, "stop": 1.5},
        {"rebalance": 2, "join": 1, "leave": 1, "kill": 1, "twin": 1, "grow": 0.5},
        7,
        5,
    ),
}
