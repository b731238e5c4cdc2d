"""The queue in front of the model: who goes with whom, and that nobody shares another's fate."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from consumer.errors import ModelFailed, Overloaded
from consumer.events import Probabilities
from consumer.model import Batcher
from consumer.model.heads import Pixels


def image(number: int) -> Pixels:
    return np.full((2, 2, 3), number, np.uint8)


def answer(pixels: Pixels) -> Probabilities:
    return {"value": {"is": float(pixels[0, 0, 0])}}


class Model:
    """Answers each image with its own value; may be held, and fails for what is in ``poison``."""

    def __init__(self, poison: Sequence[int] = ()) -> None:
        self.batches: list[list[int]] = []
        self.poison = set(poison)
        self.gate = threading.Event()
        self.gate.set()
        self.called = threading.Event()

    def __call__(self, images: Pixels) -> list[Probabilities]:
        self.called.set()
        assert self.gate.wait(10)
        values = [int(one[0, 0, 0]) for one in images]
        self.batches.append(values)
        if self.poison & set(values):
            raise RuntimeError("an image that the model cannot take")
        return [answer(one) for one in images]


def values(futures: Sequence[Future[Probabilities]]) -> list[float]:
    return [one.result(10)["value"]["is"] for one in futures]


def test_what_gathers_while_a_call_runs_goes_together() -> None:
    model = Model()
    model.gate.clear()
    batcher = Batcher(model, max_size=8, max_wait_s=0.0)
    futures = [batcher.submit(image(0))]
    assert model.called.wait(10)
    futures += [batcher.submit(image(number)) for number in range(1, 7)]
    model.gate.set()
    assert values(futures) == [0, 1, 2, 3, 4, 5, 6]
    batcher.close()
    assert model.batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_as_many_calls_as_there_are_lanes_run_side_by_side() -> None:
    side_by_side = threading.Barrier(3)

    def model(images: Pixels) -> list[Probabilities]:
        side_by_side.wait(10)
        return [answer(one) for one in images]

    batcher = Batcher(model, max_size=1, max_wait_s=0.0, lanes=3)
    assert values([batcher.submit(image(number)) for number in range(3)]) == [0, 1, 2]
    batcher.close()


def test_what_a_lane_leaves_when_it_takes_a_batch_is_seen_to_by_another() -> None:
    gate = threading.Event()

    def model(images: Pixels) -> list[Probabilities]:
        if len(images) == 2:
            assert gate.wait(20)
        return [answer(one) for one in images]

    batcher = Batcher(model, max_size=4, max_wait_s=0.3, lanes=2)
    assert values([batcher.submit(image(0))]) == [0]
    with batcher._changed:  # nobody takes any before all three are here, and only one lane is told of them
        three = [batcher.submit(image(number)) for number in (1, 2, 3)]
    assert values(three[2:]) == [3]
    gate.set()
    batcher.close()


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_lane_outlives_whatever_a_call_raises(error: type[BaseException]) -> None:
    def model(images: Pixels) -> list[Probabilities]:
        raise error

    batcher = Batcher(model, max_size=1, max_wait_s=0.0)
    for number in range(2):
        with pytest.raises(ModelFailed):
            batcher.submit(image(number)).result(10)
    batcher.close()
    assert batcher.longest_call_s() == 0.0


@pytest.mark.parametrize("poison", [[3], [0], [7], [2, 5]])
def test_a_failed_call_is_taken_apart_until_the_culprit_stands_alone(poison: list[int]) -> None:
    model = Model(poison)
    model.gate.clear()
    batcher = Batcher(model, max_size=8, max_wait_s=0.0)
    first = batcher.submit(image(100))
    assert model.called.wait(10)
    futures = [batcher.submit(image(number)) for number in range(8)]
    model.gate.set()
    assert values([first]) == [100]
    for number, future in enumerate(futures):
        if number in poison:
            with pytest.raises(ModelFailed):
                future.result(10)
        else:
            assert values([future]) == [number]
    batcher.close()


def test_a_model_that_gives_too_few_answers_mixes_nothing_up() -> None:
    batcher = Batcher(lambda images: [], max_size=4, max_wait_s=0.0)
    with pytest.raises(ModelFailed):
        batcher.submit(image(1)).result(10)
    batcher.close()


def test_a_thousand_images_from_eight_threads_each_have_their_own_answer_and_are_observed() -> None:
    sizes: list[float] = []
    waits: list[float] = []
    batcher = Batcher(Model(), 16, 0.001, lanes=3, on_batch=sizes.append, on_wait=waits.append)
    with ThreadPoolExecutor(8) as threads:
        futures = list(threads.map(lambda number: batcher.submit(image(number % 250)), range(1_000)))
    assert values(futures) == [number % 250 for number in range(1_000)]
    batcher.close()
    assert (sum(sizes), len(waits), max(sizes) <= 16) == (1_000, 1_000, True)


def test_closing_answers_what_is_queued_and_takes_no_more() -> None:
    model = Model()
    model.gate.clear()
    batcher = Batcher(model, max_size=2, max_wait_s=60.0, lanes=2)
    futures = [batcher.submit(image(number)) for number in range(5)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    model.gate.set()
    closing.join(10)
    assert values(futures) == [0, 1, 2, 3, 4]
    with pytest.raises(Overloaded):
        batcher.submit(image(1))


def test_it_tells_how_long_the_longest_call_takes_already() -> None:
    now = 100.0
    model = Model()
    batcher = Batcher(model, max_size=1, max_wait_s=0.0, lanes=2, clock=lambda: now)
    assert batcher.longest_call_s() == 0.0
    model.gate.clear()
    answers = [batcher.submit(image(0))]
    assert model.called.wait(10)
    now += 5.0
    assert batcher.longest_call_s() == 5.0
    model.gate.set()
    values(answers)
    batcher.close()
    assert batcher.longest_call_s() == 0.0
