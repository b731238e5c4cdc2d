"""``python -m ops.local_kafka``: a broker to try things on, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import suppress
from pathlib import Path

from ops import tool
from ops.local_kafka import LocalKafka, LocalKafkaError, jars


def topic(text: str) -> tuple[str, int]:
    """``NAME`` or ``NAME:PARTITIONS``."""
    name, _, partitions = text.partition(":")
    if not name or not (partitions or "1").isdecimal() or int(partitions or 1) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME or NAME:PARTITIONS")
    return name, int(partitions or 1)


def main() -> int:
    """Runs the brokers and prints their address; 1 if they cannot be had."""
    parser = argparse.ArgumentParser(
        prog="python -m ops.local_kafka",
        description=__doc__,
        epilog="example: python -m ops.local_kafka --brokers 3 --topics image-urls:6,image-predictions:6",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1, help="how many (default: %(default)s)")
    parser.add_argument(
        "--topics",
        type=lambda text: [topic(part) for part in text.split(",")],
        default=[],
        metavar="NAME:PARTITIONS,…",
        help="topics to make (default: none, and none is made by asking for it)",
    )
    parser.add_argument("--folder", type=Path, help="a new folder, which is kept (default: one that goes at the end)")
    arguments = parser.parse_args()
    if arguments.folder and arguments.folder.exists():
        parser.error(f"{arguments.folder} exists already: --folder names a new one")
    try:
        if not jars.folder().is_dir():
            print(f"fetching Apache Kafka {jars.version()} from Maven Central, 55 MB, once", flush=True)
        if arguments.folder:
            arguments.folder.mkdir(parents=True)
        with LocalKafka(arguments.brokers, folder=arguments.folder) as kafka:
            for name, partitions in arguments.topics:
                kafka.create_topic(name, partitions)
            print(f"Apache Kafka {jars.version()} at {kafka.bootstrap_servers}, files in {kafka.folder}")
            print(
                "Ctrl-C ends it; its data go with it" + ("." if arguments.folder is None else ", but for the folder.")
            )
            print(f"\n  export KAFKA_BOOTSTRAP_SERVERS={kafka.bootstrap_servers}\n", flush=True)
            with suppress(KeyboardInterrupt):
                signal.pause()
    except (LocalKafkaError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    tool.run(main)
