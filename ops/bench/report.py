"""What a run found, as data: written as JSON, read back for the table and the plot."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median_low
from typing import Any

from consumer.machine import usable_cores
from consumer.model.processor import Processor
from ops.bench.figures import Cost, Latency, limit
from ops.bench.processes import BenchError
from ops.bench.traffic import Seen

PACKAGES = ("image-consumer", "tensorflow", "openvino", "confluent-kafka", "urllib3", "pillow", "numpy")
TELLING = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx_vnni", "avx2")
"""Instruction sets that decide what a model costs."""
SIZE = "385x500"
"""The usual picture's."""
KAFKA, FETCH, DECODE = "consume and produce", "urllib3", "decode and resize"


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it ran."""

    processor: str
    instructions: list[str]
    cores: int
    python: str
    packages: dict[str, str]

    @classmethod
    def here(cls) -> Machine:
        """This one."""
        processor = Processor.here()
        packages = {}
        for name in PACKAGES:
            try:
                packages[name] = version(name)
            except PackageNotFoundError:
                continue
        found = [one for one in TELLING if one in processor.flags]
        return cls(processor.name, found, usable_cores(), platform.python_version(), packages)


@dataclass(frozen=True, slots=True)
class Run:
    """One step of one system.

    Attributes:
        system: ``service``, ``plain loop`` or ``old API``.
        model: ``xception`` or ``shipped``.
        backend: ``BACKEND PRECISION`` that answered.
        share: of its own highest rate that was offered; null for as much as it takes.
        waits_s: how long each image took to come.
        size: of the pictures.
        alone: part → CPU milliseconds just before and after, on average; empty where they were not measured again.
        rounds: what each round reached of its own limit; this is the run with their median.
    """

    system: str
    model: str
    backend: str
    seen: Seen
    share: float | None = None
    waits_s: float = 0.0
    size: str = SIZE
    alone: dict[str, float] = field(default_factory=dict)
    rounds: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """All of it.

    Attributes:
        fetch: by way and size, ``urllib3 385x500``.
        decode: by model, whose input's size it is for, and size, ``xception 385x500``.
        models: by model; then by ``BACKEND PRECISION BATCH``.
        kafka: the bare loop.
        start_s: of each service, until it was ready: by model and backend.
    """

    machine: Machine = field(default_factory=Machine.here)
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    fetch: dict[str, Cost] = field(default_factory=dict)
    decode: dict[str, Cost] = field(default_factory=dict)
    models: dict[str, dict[str, Cost]] = field(default_factory=dict)
    kafka: Cost | None = None
    start_s: dict[str, float] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    def write(self, file: Path) -> None:
        """As JSON."""
        file.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    @classmethod
    def read(cls, file: Path) -> Report:
        """What `write` wrote.

        Raises:
            BenchError: it cannot be read, or is something else.
        """
        try:
            return cls._of(json.loads(file.read_text("utf-8")))
        except OSError as error:
            raise BenchError(f"{file} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise BenchError(f"{file} is no report that --json wrote ({type(error).__name__}: {error})") from None

    @classmethod
    def _of(cls, found: dict[str, Any]) -> Report:
        return cls(
            machine=Machine(**found["machine"]),
            began=found["began"],
            fetch=_costs(found["fetch"]),
            decode=_costs(found["decode"]),
            models={name: _costs(costs) for name, costs in found["models"].items()},
            kafka=Cost(**found["kafka"]) if found["kafka"] else None,
            start_s=found["start_s"],
            runs=[_run(one) for one in found["runs"]],
        )

    # ── what follows from it ─────────────────────────────────────────────────────────────────────

    def best_batch(self, model: str, backend: str) -> int:
        """The batch size in which one image costs least CPU.

        Raises:
            KeyError: this backend was not measured alone.
        """
        found = {name: one.cpu_ms for name, one in self.models[model].items() if name.rpartition(" ")[0] == backend}
        if not found:
            raise KeyError(f"{backend} was not measured alone with {model}")
        return int(min(found, key=found.__getitem__).rpartition(" ")[2])

    def model_ms(self, model: str, backend: str) -> float:
        """CPU of one image in that batch size, in milliseconds; raises as `best_batch`."""
        return self.models[model][f"{backend} {self.best_batch(model, backend)}"].cpu_ms

    def usual(self, rounds: Sequence[Run]) -> Run:
        """Of several runs of one system flat out, the one whose efficiency is their median, which knows them all."""
        reached = [self.efficiency(run) for run in rounds]
        return replace(rounds[reached.index(median_low(reached))], rounds=reached)

    def parts_ms(self, run: Run) -> dict[str, float]:
        """What cannot be spared of one event of this run: part → CPU in milliseconds."""
        assert self.kafka is not None
        if run.alone:
            return {**run.alone, "Kafka": self.kafka.cpu_ms}
        return {
            "fetch": self.fetch[f"{FETCH} {run.size}"].cpu_ms,
            "decode": self.decode[f"{run.model} {run.size}"].cpu_ms,
            "model": self.model_ms(run.model, run.backend),
            "Kafka": self.kafka.cpu_ms,
        }

    def around_ms(self, run: Run) -> float:
        """CPU that broker, image server and generator took for one event of this run, on the same cores."""
        return math.fsum(one for name, one in run.seen.cpu_ms.items() if name != "service")

    def limit(self, run: Run) -> float:
        """Events a second: the cores that others left, over the parts and the surroundings of an event."""
        cores = self.machine.cores - run.seen.cores_of_others
        return limit(cores, [*self.parts_ms(run).values(), self.around_ms(run)])

    def limit_alone(self, run: Run) -> float:
        """Events a second if broker and image server were elsewhere and nobody else was here."""
        return limit(self.machine.cores, self.parts_ms(run).values())

    def efficiency(self, run: Run) -> float:
        """What the service reached of its limit."""
        return run.seen.rate / self.limit(run)

    def rest_ms(self, run: Run) -> float:
        """CPU of an event in the service beyond the parts, Kafka's among what is left: bookkeeping."""
        parts = self.parts_ms(run)
        return run.seen.cpu_ms["service"] - math.fsum(ms for name, ms in parts.items() if name != "Kafka")


def _costs(found: Mapping[str, Any]) -> dict[str, Cost]:
    return {name: Cost(**cost) for name, cost in found.items()}


def _run(found: Mapping[str, Any]) -> Run:
    seen = found["seen"]
    latency = Latency(**seen["latency"]) if seen["latency"] else None
    return Run(**{**found, "seen": Seen(**{**seen, "latency": latency})})
