"""The run: which steps, in which order, and what each of them tells while it goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from confluent_kafka import Producer

from ops.bench import models
from ops.bench.alone import alone
from ops.bench.callers import call
from ops.bench.figures import Cost
from ops.bench.image_server import url
from ops.bench.processes import BenchError, environment
from ops.bench.report import DECODE, KAFKA, SIZE, Report, Run
from ops.bench.systems import Running, Surroundings, old_api, plain_loop, service, surroundings
from ops.bench.traffic import Seen, Traffic

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured, and for how long.

    Attributes:
        seconds: measured of each step, after ``warm_s``.
        part_seconds: of each part alone.
        batches: batch sizes of the model alone.
        ways: ``MODEL_BACKEND`` and ``MODEL_PRECISION`` of the services with the Xception model; TensorFlow's bfloat16
            only on processors with AMX, since it is slower than float32 on others.
        loads: shares of the highest rate that are offered.
        waits_s: how long images take to come, besides coming at once.
        sizes: pictures of the parts; the services see the others flat out.
        rounds: flat out, of each service: the one with the median efficiency counts.
        kafka_events: of the bare loop.
        with_shipped: whether the shipped model is measured too.
        with_baselines: whether what a user would write instead is measured.
    """

    seconds: float
    warm_s: float
    part_seconds: float
    batches: tuple[int, ...]
    ways: tuple[tuple[str, str], ...]
    loads: tuple[float, ...]
    waits_s: tuple[float, ...]
    sizes: tuple[str, ...] = ("385x500", "1000x1000")
    rounds: int = 3
    kafka_events: int = 20_000
    with_shipped: bool = True
    with_baselines: bool = True
    xception: bool = True


QUICK = Plan(
    kafka_events=2_500,
    seconds=5,
    warm_s=1.5,
    part_seconds=0.7,
    batches=(1, 8),
    ways=(("auto", "auto"),),
    loads=(0.5, 0.9),
    waits_s=(0.1, 1.0),
)
FULL = Plan(
    seconds=20,
    warm_s=4,
    part_seconds=3,
    batches=(1, 2, 4, 8, 16),
    ways=(
        ("openvino", "int8"),
        ("openvino", "float32"),
        ("openvino", "bfloat16"),
        ("tensorflow", "float32"),
        ("tensorflow", "bfloat16"),
    ),
    loads=(0.1, 0.25, 0.5, 0.75, 0.9),
    waits_s=(0.1, 1.0),
    kafka_events=100_000,
)
TINY = Plan(
    seconds=1,
    warm_s=0.5,
    part_seconds=0.05,
    batches=(4,),
    ways=(("auto", "auto"),),
    loads=(0.5,),
    waits_s=(),
    sizes=("385x500",),
    rounds=2,
    kafka_events=2_000,
    with_baselines=False,
    xception=False,
)
PLANS = {"quick": QUICK, "full": FULL, "tiny": TINY}


class Suite:
    """Runs a plan.

    Args:
        plan: what is measured.
        folder: for logs, and the cache of this run.
        tell: hears a line when a step begins and one with what it found.
        report: gets what is found, as soon as it is.
    """

    def __init__(self, plan: Plan, folder: Path, tell: Tell, report: Report) -> None:
        self._plan = plan
        self._folder = folder
        self._tell = tell
        self.report = report

    def run(self) -> None:
        """All of it.

        Raises:
            BenchError: a step cannot be done.
        """
        plan = self._plan
        folders = {name: self._model(name) for name in self._names()}
        self._tell("starting Apache Kafka and the image server")
        with surroundings(self._folder) as around:
            self._parts(around, folders)
            if plan.xception:
                for way in plan.ways:
                    if not (why := self._needless(way)):
                        self._service(around, "xception", folders["xception"], *way, whole=True)
                    else:
                        self._tell(f"no service with {' '.join(way)}: {why}")
            if plan.with_shipped:
                self._service(around, "shipped", folders["shipped"], "auto", "auto", whole=False)
            if plan.with_baselines and plan.xception:
                self._plain_loop(around, folders["xception"])
                self._old_api(around, folders["xception"])

    def _needless(self, way: tuple[str, str]) -> str:
        """Why a service with this backend and precision is not measured, or nothing."""
        if way == ("tensorflow", "bfloat16") and "amx_bf16" not in self.report.machine.instructions:
            return "without AMX it is slower than float32"
        measured = {name.rpartition(" ")[0] for name in self.report.models["xception"]}
        if "auto" not in way and " ".join(way) not in measured:
            return "this machine, or this model, cannot"
        return ""

    def _names(self) -> list[str]:
        return ["xception"] * self._plan.xception + ["shipped"] * self._plan.with_shipped

    def _model(self, name: str) -> Path:
        folder = models.model_folder(name, self._tell)
        models.with_int8_copy(folder, self._tell)
        return folder

    # ── the parts ────────────────────────────────────────────────────────────────────────────────

    def _parts(self, around: Surroundings, folders: dict[str, Path]) -> None:
        report, plan = self.report, self._plan
        for size in plan.sizes:
            found = self._part("fetch", "--port", str(around.image_port), "--size", size)
            report.fetch |= {f"{name} {size}": cost for name, cost in found.items()}
            for name, folder in folders.items():
                alone = self._part("decode", "--size", size, "--model", str(folder), of=f"for {name}")
                report.decode[f"{name} {size}"] = alone[DECODE]
        for name, folder in folders.items():
            batches = map(str, plan.batches)
            report.models[name] = self._part("model", "--model", str(folder), "--batches", *batches, of=name)
        source, target, _ = around.topics()
        feed(around.kafka.bootstrap_servers, source, 2 * plan.kafka_events)
        options = ("--topic", source, "--output", target, "--events", str(2 * plan.kafka_events))
        report.kafka = self._part("kafka", "--brokers", around.kafka.bootstrap_servers, *options)[KAFKA]

    def _part(self, part: str, *options: str, of: str = "") -> dict[str, Cost]:
        self._tell(f"alone: {part} {of}".rstrip())
        command = [sys.executable, "-m", "ops.bench.parts", part, "--seconds", str(self._plan.part_seconds), *options]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
        if done.returncode:
            raise BenchError(f"measuring {part} alone failed:\n{done.stderr[-2000:]}")
        found = {name: Cost(**one) for name, one in json.loads(done.stdout.splitlines()[-1]).items()}
        for name, cost in found.items():
            self._tell(f"  {name}: {cost.cpu_ms:.2f} ms of CPU, {cost.wall_ms:.2f} ms elapsed")
        return found

    # ── end to end ───────────────────────────────────────────────────────────────────────────────

    def _service(
        self, around: Surroundings, model: str, folder: Path, backend: str, precision: str, *, whole: bool
    ) -> None:
        plan = self._plan
        self._tell(f"starting the service: {model}, {backend} {precision}")
        with service(around, folder, backend, precision) as running:
            self.report.start_s[f"{model} {running.backend}"] = running.start_s
            self._tell(f"  ready after {running.start_s:.1f} s with {running.backend}, batches to {running.max_batch}")
            note = partial(self._note, "service", model, running.backend)
            highest = self._rounds(around, running, model, folder)
            self._loads(running.traffic, around.image_port, note, highest)
            for waits_s in plan.waits_s if whole else ():
                self._tell(f"images that take {waits_s:g} s")
                where = partial(url, around.image_port, after_s=waits_s)
                seen = running.traffic.flat_out(where, waits_s=waits_s, warm_s=plan.warm_s, seconds=plan.seconds)
                note(seen, waits_s=waits_s)
            for size in plan.sizes if whole else ():
                if size != SIZE:
                    self._tell(f"images of {size}")
                    where = partial(url, around.image_port, size=size)
                    note(running.traffic.flat_out(where, warm_s=plan.warm_s, seconds=plan.seconds), size=size)
            outcomes = running.outcomes()
            if outcomes["failed"] or outcomes["unreadable"]:
                raise BenchError(f"events failed, so this is no measure: {outcomes}, {running.failures()}")

    def _rounds(self, around: Surroundings, running: Running, model: str, folder: Path) -> float:
        """Flat out, and the parts alone before and after, by turns; gives the events a second that count."""
        plan, way, port = self._plan, running.backend, around.image_port
        rounds: list[Run] = []
        batch = self.report.best_batch(model, way)
        with alone(self._folder, port=port, model=folder, way=way, batch=batch, seconds=plan.part_seconds) as parts:
            before = parts.measure()
            for number in range(plan.rounds):
                self._tell(f"as many as it takes, {number + 1} of {plan.rounds}")
                seen = running.traffic.flat_out(partial(url, port), warm_s=plan.warm_s, seconds=plan.seconds)
                after = parts.measure()
                cost = {name: (ms + after[name]) / 2 for name, ms in before.items()}
                rounds.append(Run("service", model, way, seen, alone=cost))
                self._tell_of(seen, f", {self.report.efficiency(rounds[-1]):.2f} of its limit")
                before = after
        counted = self.report.usual(rounds)
        self.report.runs.append(counted)
        return counted.seen.rate

    def _loads(self, traffic: Traffic, port: int, note: Callable[..., Seen], highest: float | None = None) -> None:
        """Flat out unless that was done, then at shares of what was reached."""
        plan = self._plan
        where = partial(url, port)
        if highest is None:
            self._tell("as many as it takes")
            highest = note(traffic.flat_out(where, warm_s=plan.warm_s, seconds=plan.seconds)).rate
        for share in plan.loads:
            self._tell(f"{share:.0%} of {highest:.1f} events/s")
            note(traffic.steady(share * highest, where, warm_s=plan.warm_s, seconds=plan.seconds), share=share)

    def _plain_loop(self, around: Surroundings, folder: Path) -> None:
        self._tell("starting a plain loop: poll, download, tf.function, produce")
        with plain_loop(around, folder) as traffic:
            self._loads(traffic, around.image_port, partial(self._note, "plain loop", "xception", "tensorflow float32"))

    def _old_api(self, around: Surroundings, folder: Path) -> None:
        self._tell("starting the old API's way: FastAPI, download, model.predict")
        with old_api(around, folder) as (api, process):
            plan = self._plan
            note = partial(self._note, "old API", "xception", "tensorflow float32")
            ask = partial(
                call,
                api,
                around.groups(process),
                partial(url, around.image_port),
                warm_s=plan.warm_s,
                seconds=plan.seconds,
            )
            self._tell("as many as it takes")
            highest = note(ask(per_second=None)).rate
            for share in plan.loads:
                self._tell(f"{share:.0%} of that")
                note(ask(per_second=share * highest), share=share)

    def _note(
        self,
        system: str,
        model: str,
        backend: str,
        seen: Seen,
        *,
        share: float | None = None,
        waits_s: float = 0.0,
        size: str = SIZE,
    ) -> Seen:
        self._tell_of(seen)
        self.report.runs.append(Run(system, model, backend, seen, share, waits_s, size))
        return seen

    def _tell_of(self, seen: Seen, more: str = "") -> None:
        if seen.lost or seen.doubled:
            self._tell(f"  {seen.lost} outcomes lost, {seen.doubled} doubled")
        latency = f", p50 {seen.latency.p50:.0f} ms, p99 {seen.latency.p99:.0f} ms" if seen.latency else ""
        cpu = seen.cpu_ms["service"]
        self._tell(f"  {seen.rate:.1f} events/s{latency}, {cpu:.2f} ms of CPU each, {seen.memory_mib:.0f} MiB{more}")


def feed(brokers: str, topic: str, events: int) -> None:
    """Fills a topic with events of the usual size."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 20})
    for number in range(events):
        event = json.dumps({"event_id": str(number), "url": url(12345, number)})
        producer.produce(topic, event, f"shop-{number}")
        if number % 1000 == 0:
            producer.poll(0)
    if producer.flush(60):
        raise BenchError("the broker does not take the events of the bare loop")
