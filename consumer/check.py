"""`image-consumer check`: one line for each thing that `run` needs, with what is wrong and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NoReturn

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console
from rich.text import Text

from consumer import logs
from consumer.errors import ServiceError
from consumer.kafka_settings import EMBEDDED
from consumer.model import load_model
from consumer.settings import Settings
from consumer.stream import clients, preflight
from consumer.stream.publisher import make_publisher
from consumer.stream.source import Source


class _Skip(Exception):
    """Cannot be told: the text says why."""


def run_check(settings: Settings) -> int:
    """Prints a line for each check; returns the exit code of the first that failed, or 0."""
    logs.configure(settings.log_format or "text", "error", secrets=logs.secrets_of(settings), stream="stderr")
    console = Console(highlight=False)
    codes = [0]

    def line(name: str, check: Callable[[], str]) -> bool:
        try:
            mark, style, text = "ok  ", "green", check()
        except _Skip as skip:
            mark, style, text = "-   ", "dim", str(skip)
        except ServiceError as error:
            mark, style, text = "FAIL", "bold red", str(error)
            codes.append(error.exit_code)
        console.print(Text.assemble((mark, style), f" {name:<10} ", logs.printable(text)), soft_wrap=True)
        return mark != "FAIL"

    line("settings", settings.told_changes)
    line("model", partial(_model, settings))
    if settings.kafka.bootstrap_servers == EMBEDDED:
        line("broker", lambda: "embedded: made at the start, nothing to check")
    else:
        _check_kafka(settings, line)
    line("registry", partial(_skip, "none: Avro single-object encoding"))
    return next((code for code in codes if code), 0)


def _check_kafka(settings: Settings, line: Callable[[str, Callable[[], str]], bool]) -> None:
    instance = clients.Instance("check", stable=False)
    config = clients.consumer_config(settings, instance)
    consumer = clients.make_consumer(config)
    try:
        if not line("broker", lambda: _broker(consumer, config["error_cb"], settings)):
            for name in ("topics", "rights"):
                line(name, partial(_skip, "needs a broker"))
            return
        for variable, topic in preflight.topics_of(settings).items():
            line("topic", partial(_topic, consumer, topic, variable, settings))
        line("rights", partial(_rights, settings, instance))
        if settings.delivery == "exactly-once":
            line("delivery", partial(_transactions, settings, instance, Source(consumer, settings.input_topic)))
    finally:
        consumer.close()


def _skip(why: str) -> NoReturn:
    raise _Skip(why)


def _model(settings: Settings) -> str:
    model = load_model(settings)
    tasks = ", ".join(f"{task} ({len(labels)})" for task, labels in model.config.tasks.items())
    info = model.info
    return f"{info.name} {info.version} on {info.backend} in {info.precision}: {tasks}"


def _broker(consumer: object, troubles: clients.Troubles, settings: Settings) -> str:
    brokers = preflight.reach(consumer, troubles, settings)
    return f"{preflight.brokers_told(brokers)} at {settings.kafka.bootstrap_servers}"


def _topic(consumer: object, topic: str, variable: str, settings: Settings) -> str:
    return f"{topic}: {preflight.partitions_of(consumer, topic, variable, settings)} partitions"


def _rights(settings: Settings, instance: clients.Instance) -> str:
    admin = AdminClient(clients.admin_config(settings, instance))
    try:
        preflight.check_rights(admin, settings)
    except KafkaException as error:
        raise _Skip(f"the broker does not tell: {error.args[0].str()}") from None
    return "read on the input topic and the group, write on the output topics"


def _transactions(settings: Settings, instance: clients.Instance, source: Source) -> str:
    publisher = make_publisher(settings, instance, source)
    publisher.start(15.0)
    publisher.close(0.0)
    return "exactly-once: the brokers take transactions"
