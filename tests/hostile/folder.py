"""Every file of a folder ends in a prediction or a code: ``python -m tests.hostile.folder DIR``.

Made for Pillow's own ``Tests/images``. Exits with 1 if a file took longer than two seconds or ended a process.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from ops import tool
from tests.hostile.measuring import bench

MOST_S = 2.0


def main() -> int:
    """Prints how many files came to what, and the worst ones."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile.folder",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="its files, at any depth")
    folder = parser.parse_args().folder
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        parser.error(f"{folder} is no folder with files in it")
    with bench() as on:
        found = [on.measure(str(path.relative_to(folder)), path.read_bytes()) for path in files]
        deaths = on.deaths
    for outcome, count in Counter(one.outcome for one in found).most_common():
        print(f"{count:6} {outcome}")
    slowest = sorted(found, key=lambda one: -one.seconds)[:5]
    largest = sorted(found, key=lambda one: -one.peak_bytes)[:5]
    print("slowest:", *(one.line() for one in slowest), sep="\n  ")
    print("most memory:", *(one.line() for one in largest), sep="\n  ")
    late = sum(one.seconds > MOST_S for one in found)
    print(f"{len(found)} files, {late} took more than {MOST_S:g} s, {deaths} ended a process")
    return int(late > 0 or deaths > 0)


if __name__ == "__main__":
    tool.run(main)
