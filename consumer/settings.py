"""Every setting, typed, in one table that also prints the documentation.

Settings are environment variables, read once at start by `Settings.from_env`. A wrong or unknown one
is a `SettingsError` that names the variable, its value and what is accepted. The table is the
dataclass itself: a field's name in capitals is its variable.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal, NamedTuple

from consumer.errors import SettingsError
from consumer.kafka_settings import EMBEDDED, KafkaSettings

Network = IPv4Network | IPv6Network

FAMILIES = (
    *("BATCH_", "DEAD_LETTER_", "DELIVERY_", "DRAIN_", "FETCH_", "HTTP_", "IMAGE_", "INPUT_", "LOG_"),
    *("MODEL_", "OUTPUT_", "SCHEMA_REGISTRY_", "STUCK_"),
)
"""A variable that begins like this is meant for us, so an unknown one is a typing error."""

FOREIGN = frozenset({"HTTP_PROXY"})
"""Well-known variables of others that begin like a family of ours. They take no part."""

GUARDS = frozenset({"HTTP_API_KEY", "FETCH_ALLOW_HOSTS"})
"""What these close is open without them. Empty, they are most likely a secret or a template that was not filled in, so
that is an error, while other variables count as not set."""


# ── parsers: text → value, or a ValueError whose text says what is accepted ──────────────────────


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not low <= float(text) <= high:
            raise ValueError(f"a number of seconds from {low:g} to {high:g}")
        return float(text)

    return parse


_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def _size(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        match = re.fullmatch(r"([0-9]{1,12}) ?([A-Za-z]*)", text)
        unit = _UNITS.get(match[2].lower()) if match else None
        if match is None or unit is None or not low <= int(match[1]) * unit <= high:
            raise ValueError(f"a number of bytes from {low} to {high}, or one with KiB, MiB or GiB")
        return int(match[1]) * unit

    return parse


def _choice(*accepted: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in accepted:
            raise ValueError("one of " + ", ".join(accepted))
        return text

    return parse


def _flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("true or false")
    return text == "true"


def _topic(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", text) or text in {".", ".."}:
        raise ValueError("a topic name: up to 249 letters, digits, dots, underscores and hyphens")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,200}", text):
        raise ValueError("up to 200 letters, digits, dots, underscores and hyphens")
    return text


def _nets(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(part.strip()) for part in text.split(","))
    except ValueError:
        raise ValueError("networks such as 127.0.0.0/8,::1/128, comma separated, without host bits") from None


_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"


def _hosts(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip().lower() for part in text.split(","))
    if not all(re.fullmatch(rf"(\*\.)?{_LABEL}(\.{_LABEL})*", part) for part in parts):
        raise ValueError("host names such as images.example.com,*.example.org, comma separated")
    return parts


def _ports(text: str) -> frozenset[int] | None:
    if text == "any":
        return None
    try:
        return frozenset(_whole(1, 65535)(part.strip()) for part in text.split(","))
    except ValueError:
        raise ValueError("ports from 1 to 65535, comma separated, or any") from None


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", text):
        raise ValueError("an http or https URL")
    return text


def _host(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z.:_-]{1,253}", text):
        raise ValueError("an address or host name to listen on, such as 127.0.0.1, 0.0.0.0 or ::")
    return text


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _secret(text: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{8,512}", text):
        raise ValueError("8 to 512 printable ASCII characters without a space")
    return text


class Row(NamedTuple):
    """One line of the table, as `image-consumer settings` and the README show it."""

    variable: str
    value: str
    default: str
    meaning: str
    changed: bool


def _setting(default: Any, parse: Callable[[str], Any], meaning: str, shown: str = "", secret: bool = False) -> Any:
    """A field of the table. ``shown`` is the default in words where the value does not say it."""
    metadata = {"parse": parse, "meaning": meaning, "shown": shown, "secret": secret}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of the service; durations in seconds unless the name says otherwise."""

    input_topic: str = _setting("image-urls", _topic, "topic that image-URL events are read from")
    output_topic: str = _setting("image-predictions", _topic, "topic that outcomes are published to")
    dead_letter_topic: str = _setting("image-urls.dead-letter", _topic, "topic for events that failed")

    delivery: Literal["exactly-once", "at-least-once"] = _setting(
        "exactly-once",
        _choice("exactly-once", "at-least-once"),
        "exactly-once (transactions) or at-least-once (cheaper, may double after a crash)",
    )
    instance_id: str | None = _setting(
        None,
        _name,
        "stable name of this instance: its restart takes over at once; of two with one name the older ends",
        "made at start",
    )
    drain_s: float = _setting(25.0, _seconds(0, 3600), "after SIGTERM, how long work in flight may take")
    stuck_after_s: float = _setting(60.0, _seconds(1, 86400), "no progress for so long turns /livez to 503")

    output_format: Literal["avro", "json"] = _setting(
        "avro", _choice("avro", "json"), "form of the outcomes: avro or json"
    )
    schema_registry_url: str | None = _setting(
        None,
        _url,
        "with it, Avro in Confluent wire format; without, Avro single-object encoding",
        "none",
        secret=True,
    )

    model_path: Path | None = _setting(None, _path, "a model directory, or its configuration file", "the shipped model")
    model_backend: Literal["auto", "tensorflow", "openvino"] = _setting(
        "auto",
        _choice("auto", "tensorflow", "openvino"),
        "auto takes the fastest one installed that agrees with the reference",
    )
    model_precision: Literal["auto", "float32", "bfloat16", "int8"] = _setting(
        "auto",
        _choice("auto", "float32", "bfloat16", "int8"),
        "auto takes the fastest one that agrees with float32",
    )
    model_cache_bytes: int = _setting(
        32 * 2**20,
        _size(0, 2**40),
        "memory for answers to images that came before, told by their bytes; 0 keeps none",
        "32 MiB",
    )
    batch_max_size: int | None = _setting(None, _whole(1, 1024), "most images in one model call", "tuned")
    batch_max_wait_ms: int | None = _setting(
        None, _whole(0, 10_000), "longest that an image waits for its batch to fill", "tuned"
    )

    fetch_deadline_s: float = _setting(
        10.0, _seconds(0.1, 600), "everything that one image takes: attempts, redirects and pauses"
    )
    fetch_max_bytes: int = _setting(20 * 2**20, _size(1, 2**31), "largest image file", "20 MiB")
    fetch_max_redirects: int = _setting(3, _whole(0, 20), "most redirects of one image")
    fetch_attempts: int = _setting(3, _whole(1, 10), "most attempts at one image, inside the deadline")
    fetch_concurrency: int | None = _setting(None, _whole(1, 1024), "images fetched at the same time", "tuned")
    fetch_shared: bool = _setting(True, _flag, "events that wait for the same URL at the same time share one fetch")
    fetch_per_host: int = _setting(8, _whole(1, 1024), "connections to one host at the same time")
    fetch_allow_nets: tuple[Network, ...] = _setting(
        (), _nets, "private networks that are fetched from all the same, as CIDRs", "none"
    )
    fetch_allow_hosts: tuple[str, ...] = _setting(
        (), _hosts, "the only hosts that are fetched from: names, *.example.com", "any public"
    )
    fetch_allow_ports: frozenset[int] | None = _setting(
        frozenset({80, 443}), _ports, "the only ports that are fetched from, or any", "80,443"
    )
    image_max_pixels: int = _setting(50_000_000, _whole(1, 2**30), "largest image, width times height")

    http_host: str = _setting("127.0.0.1", _host, "address that the HTTP endpoint listens on")
    http_port: int = _setting(8000, _whole(0, 65535), "its port; 0 takes a free one", "8000, or the next free one")
    http_api_key: str | None = _setting(
        None, _secret, "with it, /predict/ and /status want Authorization: Bearer KEY", "none", secret=True
    )

    log_format: Literal["text", "json"] | None = _setting(
        None, _choice("text", "json"), "text or json", "text on a terminal, else json"
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", _choice("debug", "info", "warning", "error"), "least severity that is logged"
    )

    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    given: frozenset[str] = frozenset()
    """The variables of the table that were set, to whatever value."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Reads and checks every variable of ours; an empty one counts as not set, unless it is one of `GUARDS`.

        Raises:
            SettingsError: a variable is wrong or unknown, or two contradict each other.
        """
        table = {one.name.upper(): one for one in fields(cls) if one.metadata}
        kafka = KafkaSettings.from_env(environ)
        given = {variable for variable, text in environ.items() if text and variable in table}
        values: dict[str, Any] = {"kafka": kafka, "given": frozenset(given)}
        for variable, text in environ.items():
            known = table.get(variable)
            if known is None:
                if variable.startswith(FAMILIES) and variable not in FOREIGN:
                    raise SettingsError(_unknown(variable, list(table)))
                continue
            if text == "" and variable not in GUARDS:
                continue
            try:
                values[known.name] = known.metadata["parse"](text)
            except ValueError as error:
                told = "***" if known.metadata["secret"] and text else repr(text)
                unset = "" if text else "; unset it if nothing is to be closed"
                raise SettingsError(f"{variable}={told} is not accepted: it takes {error}{unset}") from None
        settings = cls(**values)
        if settings.schema_registry_url is not None:
            raise SettingsError(
                "SCHEMA_REGISTRY_URL is set, but this version speaks to no registry: unset it, "
                "and Avro is in single-object encoding"
            )
        if settings.delivery == "exactly-once" and kafka.bootstrap_servers != EMBEDDED:
            kafka.check_transactional()
        topics = [settings.input_topic, settings.output_topic, settings.dead_letter_topic]
        if len(set(topics)) < len(topics):
            raise SettingsError(
                "INPUT_TOPIC, OUTPUT_TOPIC and DEAD_LETTER_TOPIC must differ: a service that reads "
                f"what it writes never ends (they are {', '.join(topics)})"
            )
        return settings

    def told_changes(self) -> str:
        """Which variables differ from their defaults, as a line tells it."""
        changed = [row.variable for row in self.rows() if row.changed]
        return f"{', '.join(changed)} set" if changed else "all at their defaults"

    def rows(self) -> list[Row]:
        """The whole table with its effective values, secrets masked."""
        made = []
        for one in fields(self):
            if not one.metadata:
                continue
            value = getattr(self, one.name)
            default = one.metadata["shown"] or _text(one.default)
            told = default if value == one.default else "***" if one.metadata["secret"] else _text(value)
            made.append(Row(one.name.upper(), told, default, one.metadata["meaning"], value != one.default))
        return made + [Row(*row) for row in self.kafka.rows()]


def _unknown(variable: str, known: list[str]) -> str:
    near = difflib.get_close_matches(variable, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "`image-consumer settings` lists them all"
    return f"{variable} is no setting: {hint}"


def _text(value: Any) -> str:
    """A value as one would write it into the environment."""
    if value is None:
        return "any"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | frozenset):
        return ",".join(str(part) for part in (sorted(value) if isinstance(value, frozenset) else value))
    return str(value)
