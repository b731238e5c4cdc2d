"""`image-consumer`: the commands, their options and their exit codes.

Heavy imports (TensorFlow takes seconds) wait until a command needs them, so that ``--help`` and
``settings`` answer at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumer import freed_memory, logs
from consumer.decoding.confinement import close_memory
from consumer.errors import ServiceError
from consumer.settings import Settings
from consumer.signals import Starting, StopRequest

log = logging.getLogger(__name__)

CLOSE_S = 1.0
"""What giving everything back may take once the stream has ended."""

EXIT_CODES = """exit codes:
  0 stopped as asked   1 unexpected   2 settings   3 model
  4 broker: unreachable, not authorised, topic missing
  5 fatal while running: fenced, too many failures, stuck"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    _open_standard_files()
    options = _parser().parse_args(argv)
    try:
        settings = Settings.from_env(os.environ)
        return int(options.command(options, settings))
    except ServiceError as error:
        print(f"image-consumer: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130  # as a shell says of a program that Ctrl-C ended
    except BrokenPipeError:  # the reader of our output has gone: `image-consumer settings | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Console(Console):
    """Leaves a reader that has gone to `main`; rich would end the process with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _open_standard_files() -> None:
    """Puts /dev/null where the starter closed a standard descriptor: else the next file or socket gets its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - as long as the process
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - as long as the process


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="image-consumer",
        description="Image-URL events in, predictions out: exactly once, in order.",
        epilog=f"""examples:
  image-consumer demo
  KAFKA_BOOTSTRAP_SERVERS=kafka:9092 image-consumer check
  KAFKA_BOOTSTRAP_SERVERS=kafka:9092 MODEL_PATH=./model image-consumer run

{EXIT_CODES}""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = _command(commands, "run", _run, "read events, publish outcomes, serve HTTP, until SIGTERM or SIGINT")
    run.epilog = f"""Settings are environment variables: `image-consumer settings` lists them.

examples:
  image-consumer run                                    # Kafka at localhost:9092, the shipped model
  KAFKA_BOOTSTRAP_SERVERS=embedded image-consumer run   # a try-out with a broker of its own
  DELIVERY=at-least-once FETCH_ALLOW_NETS=10.0.0.0/8 image-consumer run

{EXIT_CODES}"""

    demo = _command(commands, "demo", _demo, "the whole system with nothing installed: broker, images, model, table")
    demo.add_argument("--events", type=_positive, default=200, metavar="N", help="events to publish (default: 200)")
    demo.add_argument("--keep-running", action="store_true", help="leave everything up to try by hand, until Ctrl-C")
    demo.epilog = """examples:
  image-consumer demo
  image-consumer demo --events 1000
  image-consumer demo --keep-running     # prints the commands to try"""

    check = _command(
        commands, "check", _check, "settings, model, broker, topics, rights: what is wrong, how to mend it"
    )
    check.epilog = f"example:\n  KAFKA_BOOTSTRAP_SERVERS=kafka:9092 image-consumer check\n\n{EXIT_CODES}"

    table = _command(commands, "settings", _settings, "every setting: its value now, default and meaning")
    table.epilog = "example:\n  FETCH_DEADLINE_S=5 image-consumer settings"
    return parser


def _command(commands: object, name: str, call: object, text: str) -> argparse.ArgumentParser:
    assert isinstance(commands, argparse._SubParsersAction)
    made = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.set_defaults(command=call)
    assert isinstance(made, argparse.ArgumentParser)
    return made


def _positive(text: str) -> int:
    # The embedded broker keeps 5 MiB a partition: some 10 000 outcomes in all are there to be read.
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 10000")
    return int(text)


def _run(options: argparse.Namespace, settings: Settings) -> int:  # noqa: ARG001 - as every command
    began = time.monotonic()
    close_memory()
    freed_memory.goes_back()
    asked = StopRequest.on_signals()
    logging_on = logs.configure(settings.log_format, settings.log_level, secrets=logs.secrets_of(settings))

    answers = ExitStack()  # over HTTP, to requests under way

    def last_words() -> None:
        log.info("stopped as asked, before the group was joined")
        answers.close()
        logging_on.close()

    starting = Starting(asked, last_words)
    from consumer.service import Service  # noqa: PLC0415 - TensorFlow, FastAPI: seconds

    code = 0
    service = Service(settings, began)
    answers.callback(service.stop_http)
    try:
        if service.start(asked, joining=starting.over):
            service.wait(asked)
        log.info("stopped as asked")
    except ServiceError as error:
        log.error("%s", error)  # noqa: TRY400 - a line that says what to do, not a trace
        code = error.exit_code
    except Exception:  # the outermost frame: whatever nobody expected is told with its stack, and the process ends
        log.exception("unexpected: this is a bug")
        code = 1
    starting.over()
    # Closing waits for threads, and a thread that is stuck must not keep the process: 5 s after the drain it is gone.
    closing = threading.Thread(target=service.close, name="close", daemon=True)
    closing.start()
    closing.join(CLOSE_S)
    logging_on.close()
    sys.stdout.flush()
    # Fetches under way may hold their threads for FETCH_DEADLINE_S; whatever they bring is nobody's now.
    os._exit(code)


def _demo(options: argparse.Namespace, settings: Settings) -> int:
    asked = StopRequest.on_signals()
    # Not 0, which says that every picture came out right. Its spinner hides the cursor.
    starting = Starting(asked, lambda: Console().show_cursor(), code=1)
    from consumer.demo.run import run_demo  # noqa: PLC0415 - TensorFlow, FastAPI: seconds

    return run_demo(settings, asked, starting, events=options.events, keep_running=options.keep_running)


def _check(options: argparse.Namespace, settings: Settings) -> int:  # noqa: ARG001 - as every command
    from consumer.check import run_check  # noqa: PLC0415 - TensorFlow: seconds

    return run_check(settings)


def _settings(options: argparse.Namespace, settings: Settings) -> int:  # noqa: ARG001 - as every command
    table = Table("variable", "value", "default", "meaning", box=None, pad_edge=False)
    for row in settings.rows():
        style = "bold" if row.changed else ""
        table.add_row(
            *(Text(logs.printable(cell), style=style) for cell in (row.variable, row.value, row.default, row.meaning))
        )
    # Into a pipe, whole lines: a table cut at 80 columns cannot be searched.
    console = _Console(highlight=False, width=None if sys.stdout.isatty() else 240)
    console.print(table)
    console.print("Any librdkafka property can be set too: KAFKA_…, KAFKA_CONSUMER_…, KAFKA_PRODUCER_…", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
