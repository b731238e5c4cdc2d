"""Thousands of histories, each out of its seed, and no promise broken in any of them."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.conftest import HISTORIES
from tests.simulation.campaign import MIX, Choice, Tally
from tests.simulation.world import play


@pytest.mark.slow
def test_no_history_loses_doubles_reorders_or_strands_an_event(histories: Future[Tally]) -> None:
    tally = histories.result()
    assert tally.histories == HISTORIES
    told = [f"{Choice().command(one.seed)}: {one.violations[0]}" for one in tally.failed]
    assert told == []


def test_a_seed_tells_the_same_history_step_by_step_in_every_process() -> None:
    seeds = list(range(3 * len(MIX)))
    choice = Choice()
    here = [play(seed, *choice.of(seed), traced=True).trace for seed in seeds]
    with ThreadPoolExecutor(2) as threads:
        there = list(threads.map(lambda hash_seed: _traces(seeds, hash_seed), ["1", "2"]))
    assert [here, here] == there
    assert len({len(trace) for trace in here}) > len(seeds) // 2


def _traces(seeds: list[int], hash_seed: str) -> list[list[str]]:
    """The same, played by another process whose hashes of texts fall differently."""
    script = (
        "import json, logging; logging.disable(logging.CRITICAL)\n"
        "from tests.simulation.campaign import Choice\nfrom tests.simulation.world import play\n"
        f"print(json.dumps([play(seed, *Choice().of(seed), traced=True).trace for seed in {seeds}]))"
    )
    played = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    found: list[list[str]] = json.loads(played.stdout)
    return found
