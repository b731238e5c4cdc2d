"""``python -m tests.simulation``: a campaign of many histories, or one of them step by step."""

from __future__ import annotations

import argparse
import logging
import sys

from ops import tool
from tests.simulation.campaign import Choice, Tally, replay, run
from tests.simulation.profiles import PROFILES

SHOWN = 20
"""Failed histories that are shown one by one."""
LINE_EVERY_S = 60.0
"""How often it is told how far it is where nobody watches: a million take an hour or two."""


def main(arguments: list[str] | None = None) -> int:
    """Plays what it is asked for; 0 if no history broke a promise, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description=__doc__,
        epilog="""examples:
  python -m tests.simulation --histories 1000000
  python -m tests.simulation --seed 4711 --trace""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--histories", type=_positive, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--workers", type=_positive, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--profile", choices=PROFILES, help="what may go wrong (default: by the seed)")
    parser.add_argument("--delivery", choices=("exactly-once", "at-least-once"), help="(default: by the seed)")
    parser.add_argument("--seed", type=int, help="replay this one history")
    parser.add_argument("--trace", action="store_true", help="with --seed: every step")
    chosen = parser.parse_args(arguments)
    choice = Choice(chosen.profile, chosen.delivery)
    if chosen.seed is not None:
        return _one(chosen.seed, choice, traced=chosen.trace)
    return _many(chosen.histories, chosen.first, chosen.workers, choice)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def _one(seed: int, choice: Choice, *, traced: bool) -> int:
    logging.disable(logging.CRITICAL)
    history = replay(seed, choice, traced=traced)
    for line in history.trace:
        print(line)
    profile, delivery = choice.of(seed)
    told = "; ".join(history.violations) or "every promise was kept"
    print(f"seed {seed}, {profile}, {delivery}: {history.events} events, {history.seconds:.1f} s: {told}")
    return 1 if history.violations else 0


def _many(histories: int, first: int, workers: int, choice: Choice) -> int:
    shown, told_s = 0, 0.0
    terminal = sys.stdout.isatty()

    def tell(tally: Tally, seconds: float) -> None:
        nonlocal shown, told_s
        for history in tally.failed[shown:SHOWN]:
            print(f"\n{choice.command(history.seed)}\n  {'; '.join(history.violations[:3])}", flush=True)
        shown = len(tally.failed)
        rate = tally.histories / max(seconds, 0.001)
        left = (histories - tally.histories) / max(rate, 0.001)
        if terminal or tally.histories >= histories or seconds - told_s >= LINE_EVERY_S:
            told_s = seconds
            line = f"{_summary(tally)}; {rate:.0f} a second, {left:.0f} s left "
            print(f"\r{line}" if terminal else line, end="" if terminal else "\n", flush=True)

    tally = run(histories, workers, choice, first, tell)
    print()
    for (delivery, profile), count in sorted(tally.mix.items(), reverse=True):
        print(f"  {delivery:13} {profile:10} {count:9,}")
    return 1 if tally.failed else 0


def _summary(tally: Tally) -> str:
    days = tally.simulated_s / 86_400
    exactly = sum(count for (delivery, _), count in tally.mix.items() if delivery == "exactly-once")
    return (
        f"{tally.histories:,} histories ({exactly:,} exactly-once, {tally.histories - exactly:,} at-least-once), "
        f"{tally.events:,} events, {days:,.1f} days, {len(tally.failed)} broken"
    )


if __name__ == "__main__":
    tool.run(main)
