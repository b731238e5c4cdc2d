"""The load on a web API: callers that ask, wait for the answer, and ask again or at their appointed time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

import requests

from ops.bench.figures import Latency, rate
from ops.bench.processes import BenchError, Spent, memory_mib, tree
from ops.bench.traffic import Groups, Seen

CALLERS = 4
"""At once: more than the cores, so that the API never waits for a caller."""


def call(
    api: str, groups: Groups, url: Callable[[int], str], *, per_second: float | None, warm_s: float, seconds: float
) -> Seen:
    """As `Traffic.steady`, or as `Traffic.flat_out` without ``per_second``; latency is the caller's.

    Raises:
        BenchError: the API failed.
    """
    due: SimpleQueue[tuple[int, float]] = SimpleQueue()
    took: SimpleQueue[tuple[float, float] | Exception] = SimpleQueue()
    over = threading.Event()

    def caller() -> None:
        session = requests.Session()
        while not over.is_set():
            try:
                number, since = due.get(timeout=0.1)
                answer = session.get(f"{api}/predict/", params={"url": url(number)}, timeout=60)
                answer.raise_for_status()
                took.put((since, time.time()))
            except Empty:
                continue
            except requests.RequestException as error:
                took.put(error)

    threads = [threading.Thread(target=caller, daemon=True) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    answers: list[tuple[float, float]] = []
    began = time.time()
    measured, end = began + warm_s, began + warm_s + seconds
    first = None
    sent = 0
    while (now := time.time()) < end:
        if not answers:  # the first one may take longer than the warm-up: the model is traced with it
            end = now + seconds
        elif first is None and now >= measured:
            measured, end = now, now + seconds
            first, cpu = groups.reading(), time.process_time()
        while per_second and began + sent / per_second <= now:
            due.put((sent, began + sent / per_second))
            sent += 1
        while not per_second and sent - len(answers) < 2 * CALLERS:
            due.put((sent, now))
            sent += 1
        _collect(took, answers, 0.02)
    last, cpu = groups.reading(), time.process_time() - cpu
    memory = memory_mib([one for root in groups.roots["service"] for one in tree(root)])
    while len(answers) < sent:
        _collect(took, answers, 60.0)
    over.set()
    for thread in threads:
        thread.join()
    assert first is not None
    spent = Spent.between(first, last)
    shown = rate([at for _, at in answers], measured, end)
    events = shown * spent.seconds
    latency = Latency.of([at - since for since, at in answers if measured <= since < end]) if per_second else None
    cpu_ms = {name: 1000 * one / events for name, one in (spent.cpu_s | {"bench": cpu}).items()}
    others = max(0.0, spent.others_cores - cpu / spent.seconds)
    return Seen(per_second, shown, latency, cpu_ms, others, memory, lost=0, doubled=0)


def _collect(
    took: SimpleQueue[tuple[float, float] | Exception], answers: list[tuple[float, float]], wait_s: float
) -> None:
    try:
        one = took.get(timeout=wait_s)
        while True:
            if isinstance(one, Exception):
                raise BenchError(f"the API failed: {one}")
            answers.append(one)
            one = took.get_nowait()
    except Empty:
        return
