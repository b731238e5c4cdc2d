"""The service as a whole: what is made in which order, and how it ends.

::

    main thread      signals, the watchdog; makes the rest and waits
    stream           `StreamLoop`: consumer, core, producer
    fetch-N          `Predictor`: fetch, and have it decoded in processes of their own
    batcher-N        the model, a call each
    http             `WebServer`, up from the start, so that /livez answers while the model loads

Start here to read the code: an event's way is `Source` → `StreamCore` → `Worker` → `Predictor` →
`Fetcher`, `Decoder`, `Batcher` → `Encoder` → `StreamCore` → `Publisher`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from types import TracebackType
from typing import NoReturn, Self

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient

from consumer import garbage
from consumer.answer_cache import AnswerCache
from consumer.breaker import Breaker
from consumer.codec import Encoder
from consumer.decoding.decoder import Decoder
from consumer.demo.broker import EmbeddedBroker
from consumer.errors import FatalError
from consumer.failures import RecentFailures
from consumer.fetching import Fetcher
from consumer.fetching.fetcher import concurrency
from consumer.fetching.own import servers
from consumer.health import Health, dump_stacks
from consumer.kafka_settings import EMBEDDED
from consumer.machine import usable_cores
from consumer.metrics import Metrics
from consumer.model import Batcher, Model, load_model, tuned_batching
from consumer.predictor import Predictor
from consumer.settings import Settings
from consumer.signals import StopRequest
from consumer.standstill import Standstill
from consumer.status import Status, status_of
from consumer.stream import clients, preflight
from consumer.stream.core import StreamCore
from consumer.stream.limits import Limits
from consumer.stream.loop import LONGEST_TURN_S, StreamLoop
from consumer.stream.orphans import Orphans
from consumer.stream.publisher import make_publisher
from consumer.stream.seat import Seat
from consumer.stream.source import Source
from consumer.web import Bounds, WebServer, create_app
from consumer.worker import Worker

log = logging.getLogger(__name__)

LEAST_DECODERS, MOST_DECODERS = 4, 8
"""Processes that decode, as many as cores within these bounds: fewer, and two images that take long hold up all
the others; more are of no use, since one decodes 300 images a second of the usual size."""

IN_FLIGHT = 4096
"""Events being worked on, most of which wait for their turn at a host. They hold no image: those are bounded
by threads and by `Predictor`. So many, because all events of a host that drops everything are in flight for
the whole deadline, and the others must come in meanwhile: at 10 s and half of a topic, 400 a second of each."""

WATCH_EVERY_S = 1.0
STUCK_ENDS_AFTER_S = 30.0
"""How long after /livez turned to 503 the process ends itself: time for an orchestrator to act first."""

DEFAULT_PORTS = 20
"""How many instances on one host find a port of their own without a setting: 8000 and those after it."""

END_MARGIN_S = 4.0
"""What ending may take beyond DRAIN_S; the process has 5 s."""


class Service:
    """The running service, from `start` to `close`; also a context manager.

    Args:
        settings: the effective ones.
        began: when the process did, in monotonic seconds; null is now.

    Attributes:
        settings: the effective ones: with the embedded broker they hold its address.
    """

    def __init__(self, settings: Settings, began: float | None = None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        # An image may rightly take as long as its deadline, and a turn as long as its calls: stuck is more than that.
        self._stuck_after_s = max(settings.stuck_after_s, settings.fetch_deadline_s + 5, LONGEST_TURN_S + 5)
        self._fetch_concurrency = concurrency(settings)
        self.health = Health(self._stuck_after_s)
        self.failures = RecentFailures()
        self._began = time.monotonic() if began is None else began
        self.health.when_ready(self._tell_ready)
        self.metrics.watch(self.health)
        self._instance = clients.Instance.of(settings)
        self._predictor: Predictor | None = None
        self._model: Model | None = None
        self._loop: StreamLoop | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._closing = ExitStack()
        self._web: WebServer | None = None
        self._is_embedded = settings.kafka.bootstrap_servers == EMBEDDED

    @property
    def url(self) -> str:
        """Where the HTTP endpoint listens."""
        assert self._web is not None
        return self._web.url

    def start(self, asked: StopRequest, joining: Callable[[], object] = lambda: None) -> bool:
        """Makes everything and lets the loop turn. HTTP first, model before group: nothing is polled cold.

        Args:
            asked: asks it to stop, which is looked at between the steps only.
            joining: called right before the group is joined, on the stream's thread.

        Returns:
            False if it was asked to stop meanwhile; there is nothing to wait for then.

        Raises:
            ServiceError: it cannot start; what was made is given back by `close`.
        """
        log.info(
            "image-consumer %s as %s; settings: %s",
            version("image-consumer"),
            self._instance.name,
            self.settings.told_changes(),
        )
        self._start_web()
        self.health.starting("reaching the brokers")
        self._start_embedded()
        config = clients.consumer_config(self.settings, self._instance)
        consumer = clients.make_consumer(config)
        self._closing.callback(self._close_consumer, consumer)
        brokers = self._preflight(consumer, config["error_cb"])
        source = self._make_source(consumer)
        if asked.is_set():
            return False
        self.health.starting("loading the model")
        self._model = load_model(self.settings)
        self.metrics.set_model(self._model.info)
        if asked.is_set():
            return False
        self._predictor = self._make_predictor(self._model, brokers)
        worker = Worker(self._predictor, self._make_encoder(self._model))
        self._loop = StreamLoop(
            StreamCore(Limits(in_flight=IN_FLIGHT)),
            source,
            make_publisher(self.settings, self._instance, source),
            worker,
            topic=self.settings.input_topic,
            drain_s=self.settings.drain_s,
            metrics=self.metrics,
            health=self.health,
            breaker=Breaker(self.settings.fetch_deadline_s),
            failures=self.failures,
            describe=worker.describe,
            ask=self._predictor.reach,
            joining=partial(self._join, joining, time.monotonic()),
            stood_still_s=self._closing.enter_context(Standstill()).seconds,
        )
        garbage.leave_alone_what_is_here()
        self._closing.callback(garbage.look_at_everything)
        self.health.starting("reaching the transaction coordinator")
        self._thread = threading.Thread(target=self._turn, name="stream", daemon=True)
        self._thread.start()
        return True

    def wait(self, asked: StopRequest) -> None:
        """Waits until asked to stop, then lets the loop drain; watches that it moves meanwhile.

        Raises:
            ServiceError: the loop ended by itself, or stands still for good.
        """
        assert self._loop is not None
        assert self._thread is not None
        looks = 0
        while self._goes_on() and not asked.wait(WATCH_EVERY_S):
            # Looks in a row, not a time span: after SIGCONT the first look is at a beat of long ago.
            looks = 0 if self.health.live().ok else looks + 1
            if looks == 2:
                dump_stacks(log, f"stuck: {self.health.live().reason}")
            if looks * WATCH_EVERY_S >= STUCK_ENDS_AFTER_S:
                raise FatalError(f"stuck: {self.health.live().reason}")
        if self._goes_on():
            self.health.stopping()
            self._loop.stop()
            until = time.monotonic() + self.settings.drain_s + END_MARGIN_S
            while self._goes_on() and (left := until - time.monotonic()) > 0:
                self._thread.join(min(left, WATCH_EVERY_S))
            if self._goes_on():
                dump_stacks(log, "the stream did not end in time")
                raise FatalError("the stream did not end in time")
        if self._failure is not None:
            raise self._failure

    def _goes_on(self) -> bool:
        assert self._thread is not None
        return self._thread.is_alive() and self._failure is None

    def status(self) -> Status:
        """What ``/status`` shows; from any thread."""
        size, wait_s = tuned_batching(self.settings)
        if self._model:
            size = self._model.max_batch
        return status_of(
            self.settings,
            instance=self._instance.name,
            uptime_s=time.monotonic() - self._began,
            health=self.health,
            model=self._model.info if self._model else None,
            choice=self._model.choice if self._model else None,
            stream=self._loop.status if self._loop else None,
            failures=self.failures,
            tuned={
                "FETCH_CONCURRENCY": self._fetch_concurrency,
                "BATCH_MAX_SIZE": size,
                "BATCH_MAX_WAIT_MS": f"{1000 * wait_s:g}",
                "STUCK_AFTER_S": f"{self._stuck_after_s:g}",
            },
        )

    def stop_http(self) -> None:
        """Takes no more requests; those under way have a second to be answered."""
        if self._web is not None:
            self._web.stop(budget_s=1.0)

    def close(self) -> None:
        """Gives everything back, last made first; does not wait for fetches under way."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ── the parts, in the order of the start ─────────────────────────────────────────────────────

    def _start_web(self) -> None:
        settings = self.settings
        app = create_app(
            predictor=lambda: partial(self._predictor.submit, urgent=True) if self._predictor else None,
            model=lambda: self._model.info if self._model else None,
            health=self.health,
            metrics=self.metrics,
            version=version("image-consumer"),
            status=self.status,
            failures=self.failures,
            api_key=settings.http_api_key,
            deadline_s=settings.fetch_deadline_s + 5,
        )
        bounds = Bounds(answer_s=settings.fetch_deadline_s + 35)  # waiting for it, and taking it
        tries = 1 if "HTTP_PORT" in settings.given else DEFAULT_PORTS
        self._web = WebServer(app, settings.http_host, settings.http_port, bounds, tries)
        self._web.start()
        self._closing.callback(self.stop_http)
        if self._web.port != settings.http_port and settings.http_port:
            log.warning("HTTP at %s, since %d is taken: set HTTP_PORT to choose", self._web.url, settings.http_port)
        else:
            log.info("HTTP at %s", self._web.url)

    def _start_embedded(self) -> None:
        if not self._is_embedded:
            return
        broker = EmbeddedBroker(tuple(preflight.topics_of(self.settings).values()))
        self._closing.callback(broker.close)
        address = broker.bootstrap_servers
        self.settings = replace(self.settings, kafka=self.settings.kafka.embedded_at(address), delivery="at-least-once")
        log.warning(
            "embedded broker at %s: a try-out that keeps nothing, at-least-once whatever DELIVERY says; "
            "other processes reach it with KAFKA_BOOTSTRAP_SERVERS=%s",
            address,
            address,
        )

    def _preflight(self, consumer: Consumer, troubles: clients.Troubles) -> list[tuple[str, int]]:
        began = time.monotonic()
        brokers = preflight.reach(consumer, troubles, self.settings)
        counts = {
            topic: preflight.partitions_of(consumer, topic, variable, self.settings)
            for variable, topic in preflight.topics_of(self.settings).items()
        }
        told = ", ".join(f"{topic} ({count} partitions)" for topic, count in counts.items())
        at = self.settings.kafka.bootstrap_servers
        log.info("%s at %s reached in %.1f s: %s", preflight.brokers_told(brokers), at, time.monotonic() - began, told)
        return brokers

    def _make_source(self, consumer: clients.AnsweringConsumer) -> Source:
        identity = None
        if not self._is_embedded:
            make_admin = partial(AdminClient, clients.admin_config(self.settings, self._instance))
            try:
                preflight.check_rights(make_admin(), self.settings)  # a client of its own: see `clients.UNHURRIED_S`
            except KafkaException as error:
                said = f"{error.args[0].name()} {error.args[0].str()}"
                log.warning("the broker does not tell which rights this user has: %s", said)
            identity = preflight.identity_of(make_admin(), self.settings)
        return Source(
            consumer,
            self.settings.input_topic,
            orphans=Orphans.of(self.settings, self._instance),
            identity=identity,
            seat=Seat.of(self.settings, self._instance),
            outlived=self._stand_still,
            strict=clients.is_strict(self.settings),
        )

    def _make_predictor(self, model: Model, brokers: list[tuple[str, int]]) -> Predictor:
        assert self._web is not None
        size, wait_s = model.max_batch, tuned_batching(self.settings)[1]
        bootstrap = servers(self.settings.kafka.bootstrap_servers)
        batcher = Batcher(
            model.predict,
            size,
            wait_s,
            lanes=model.lanes,
            on_batch=self.metrics.batch_size.observe,
            on_wait=partial(self.metrics.observe_stage, "wait"),
            on_predict=partial(self.metrics.observe_stage, "predict"),
        )
        self._closing.callback(batcher.close)
        self.health.watch_model(batcher.longest_call_s)
        decoder = Decoder(model.config.input_size, self.settings.image_max_pixels, self._decoders())
        self._closing.callback(decoder.close)
        decoder.start()
        kept_bytes = self.settings.model_cache_bytes
        predictor = Predictor(
            Fetcher(
                self.settings,
                own=[(self.settings.http_host, self._web.port), *brokers, *bootstrap],
                on_shared=self.metrics.shared_fetches.inc,
            ),
            decoder,
            batcher,
            waiting=2 * size * model.lanes,  # one batch in each lane of the model, one to follow each
            cache=AnswerCache(kept_bytes) if kept_bytes else None,
            on_stage=self.metrics.observe_stage,
            on_recalled=self.metrics.recalled_answers.inc,
        )
        self._closing.callback(predictor.close)
        return predictor

    def _close_consumer(self, consumer: Consumer) -> None:
        """Leaves the group, unless the stream stands in a call of this very client: then the process just ends."""
        if self._thread is None or not self._thread.is_alive():
            consumer.close()

    def _make_encoder(self, model: Model) -> Encoder:
        settings = self.settings
        return Encoder(
            settings.output_format,
            input_topic=settings.input_topic,
            output_topic=settings.output_topic,
            dead_letter_topic=settings.dead_letter_topic,
            model=model.info,
        )

    def _decoders(self) -> int:
        return min(max(usable_cores(), LEAST_DECODERS), MOST_DECODERS)

    def _join(self, joining: Callable[[], object], began: float) -> None:
        if self.settings.delivery == "exactly-once":
            log.info("the transaction coordinator answered in %.1f s", time.monotonic() - began)
        joining()
        log.info("joining group %s", self.settings.kafka.group_id)

    def _tell_ready(self) -> None:
        log.info("ready %.1f s after the start", time.monotonic() - self._began)

    def _stand_still(self, error: FatalError) -> NoReturn:
        """Keeps the stream's thread in the call that it is in, until the process has ended for this reason."""
        self._failure = error
        while True:
            threading.Event().wait()

    def _turn(self) -> None:
        assert self._loop is not None
        try:
            self._loop.run()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it again
            self._failure = error
