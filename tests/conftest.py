"""What every test stands on: a clean environment, the broker, quick tests first.

`kafka` is the broker of the whole run, chosen by `tests.brokers`; `kafka_cluster` has three brokers
that a test may kill. A test that asks for one of them is marked `kafka` by that. Without any broker
such tests are skipped with one loud line, and fail where ``CI`` is set.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields

import hypothesis
import pytest
from PIL import Image

from consumer.settings import FAMILIES, Settings
from ops.local_kafka import LocalKafka, jars
from tests.brokers import Kafka, NoKafkaError, any_kafka
from tests.simulation import campaign
from tests.simulation.campaign import Tally

HISTORIES = 10_000
"""See `histories`."""

GIVEN_BROKER = pytest.StashKey[str | None]()
NO_BROKER = pytest.StashKey[str]()
CACHE = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Takes what differs from run to run out of the tests: a developer's shell, hypothesis' dice and its stopwatch."""
    hypothesis.settings.register_profile("ours", derandomize=True, deadline=None)
    hypothesis.settings.load_profile("ours")
    config.stash[GIVEN_BROKER] = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    # A shell starts background jobs with SIGINT ignored, and children of a test run there would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What starts keep of a model (see consumer.model.kept) is this run's own: made once, then shared by its processes.
    config.stash[CACHE] = tempfile.TemporaryDirectory(prefix="cache-")
    os.environ["XDG_CACHE_HOME"] = config.stash[CACHE].name
    ours = {field.name.upper() for field in fields(Settings)}
    for variable in list(os.environ):
        if variable in ours or variable.startswith(("KAFKA_", *FAMILIES)):
            del os.environ[variable]


@pytest.fixture(autouse=True)
def _pillow_as_it_was() -> Iterator[None]:
    """Decoding sets Pillow's limit for its process, and that is this one where a test decodes by itself."""
    limit = Image.MAX_IMAGE_PIXELS
    yield
    Image.MAX_IMAGE_PIXELS = limit


def pytest_unconfigure(config: pytest.Config) -> None:
    """Takes the cache away."""
    config.stash[CACHE].cleanup()


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs a broker, and lets the quick tests speak first."""
    for item in items:
        if {"kafka", "kafka_cluster"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("kafka")
    items.sort(key=lambda item: (item.get_closest_marker("slow") is not None, _needs_kafka(item)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line that cannot be overlooked, where the broker's tests did not run."""
    if reason := config.stash.get(NO_BROKER, None):
        terminalreporter.write_line(f"NO APACHE KAFKA, so its tests did not run: {reason}", red=True, bold=True)


@pytest.fixture(scope="session")
def histories() -> Iterator[Future[Tally]]:
    """What the simulation's histories come to: played by processes that take what others leave of the cores."""
    over = threading.Event()

    def go_on(tally: Tally, seconds: float) -> None:
        if over.is_set():
            raise InterruptedError("the tests end before the histories")

    def play() -> Tally:
        os.nice(19)  # of this thread, on Linux, and of the processes that it starts
        return campaign.run(HISTORIES, workers=2, choice=campaign.Choice(), tell=go_on)

    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(play)
        over.set()


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """Apache Kafka for the whole run. Its tests wait most of the time, so the histories are played meanwhile."""
    if any("histories" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("histories")

    def tell(line: str) -> None:
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\n{line}", flush=True)

    try:
        with any_kafka(request.config.stash[GIVEN_BROKER], tell) as chosen:
            yield chosen
    except NoKafkaError as error:
        _without(request, str(error))


@pytest.fixture(scope="session")
def kafka_cluster(request: pytest.FixtureRequest) -> Iterator[LocalKafka]:
    """Three brokers, to be killed and brought back by each test that does so. Always local."""
    if reason := jars.why_not():
        _without(request, reason)
    with LocalKafka(brokers=3) as cluster:
        yield cluster


def _needs_kafka(item: pytest.Item) -> bool:
    return item.get_closest_marker("kafka") is not None


def _without(request: pytest.FixtureRequest, reason: str) -> None:
    request.config.stash[NO_BROKER] = reason
    if os.environ.get("CI"):
        pytest.fail(f"CI is set and there is no Apache Kafka: {reason}", pytrace=False)
    pytest.skip("no Apache Kafka")
