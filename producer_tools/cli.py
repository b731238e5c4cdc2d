"""`image-tools`: the commands, what they share, and their exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from consumer.errors import ServiceError
from consumer.settings import Settings
from producer_tools import publish, quantize, watch
from producer_tools.connection import settings_with

EXIT_CODES = """exit codes:
  0 done   1 some of it failed   2 usage or settings
  3 model   4 broker: unreachable, not authorised, topic missing"""

INTERRUPTED = 130
"""As a shell says of a program that Ctrl-C ended. `watch` and `publish` have ends of their own."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    logging.getLogger().addHandler(logging.NullHandler())  # else Python prints what librdkafka logs
    options = _parser().parse_args(argv)
    try:
        return int(options.call(options, options.settings(options, os.environ)))
    except ServiceError as error:
        print(f"image-tools: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("image-tools: interrupted, and not finished", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone: `image-tools watch | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="image-tools",
        description="Publish image-URL events, watch their outcomes, quantise a model.",
        epilog=f"""examples:
  image-tools publish https://example.com/a.jpg
  image-tools watch --from-beginning
  image-tools quantize ./model ./pictures

The connection is the service's own: KAFKA_BOOTSTRAP_SERVERS and any other KAFKA_… variable, INPUT_TOPIC, OUTPUT_TOPIC.

{EXIT_CODES}""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (publish, watch, quantize):
        command = commands.add_parser(
            module.__name__.rpartition(".")[2],
            help=module.SUMMARY,
            description=module.SUMMARY[0].upper() + module.SUMMARY[1:] + ".",
            epilog=f"{module.EXAMPLES}\n\n{EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(call=module.run)
        module.add_options(command)
        if module is quantize:  # needs no broker
            command.set_defaults(settings=lambda _, environ: Settings.from_env(environ))
            continue
        command.set_defaults(settings=lambda options, environ: settings_with(options.bootstrap_servers, environ))
        command.add_argument(
            "--bootstrap-servers", metavar="HOST:PORT", help="the brokers (default: KAFKA_BOOTSTRAP_SERVERS)"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
