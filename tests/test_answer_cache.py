"""Answers to images that came before, within their memory."""

from __future__ import annotations

import gc
import threading
import tracemalloc

from consumer.answer_cache import AnswerCache, size_of
from consumer.events import ImageInfo, Prediction

LABELS = {
    task: [f"{task} {n}" for n in range(labels)] for task, labels in {"print": 7, "sleeves": 3, "neckline": 4}.items()
}


def prediction(number: int) -> Prediction:
    """Made as the model makes it: the labels are the configuration's, each number is an object of its own."""
    probabilities = {
        task: {label: (number + n) / 1e6 for n, label in enumerate(labels)} for task, labels in LABELS.items()
    }
    return Prediction(probabilities, ImageInfo(f"{number:064x}", "jpeg", 300 + number, 400 + number, 50_000 + number))


SIZE = size_of(prediction(0))


def test_an_answer_comes_back_and_says_that_the_model_was_not_asked() -> None:
    cache, told = AnswerCache(10 * SIZE), prediction(1)
    cache.put(told)
    found = cache.get(told.image.sha256)
    assert found == told
    assert found is not None
    assert (told.recalled, found.recalled) == (False, True)
    assert cache.get(prediction(2).image.sha256) is None


def test_what_was_not_asked_for_longest_goes_first() -> None:
    cache = AnswerCache(2 * SIZE)
    one, two, three = (prediction(n) for n in range(3))
    cache.put(one)
    cache.put(two)
    cache.get(one.image.sha256)
    cache.put(three)
    assert [cache.get(each.image.sha256) for each in (one, two, three)] == [one, None, three]


def test_an_answer_that_is_larger_than_the_memory_is_not_kept_and_neither_is_any_in_none() -> None:
    cache = AnswerCache(SIZE - 1)
    cache.put(prediction(1))
    assert len(cache) == 0


def test_the_same_image_from_two_fetches_at_once_is_kept_once() -> None:
    cache = AnswerCache(2 * SIZE)
    for _ in range(5):
        cache.put(prediction(1))
    cache.put(prediction(2))
    assert len(cache) == 2


def test_its_memory_is_what_it_was_given() -> None:
    """Within a fifth, over ten times as many answers as there is room for."""
    given = 2**20
    cache = AnswerCache(given)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(10 * given // SIZE):
            cache.put(prediction(number))
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.8 < taken / given < 1.2


def test_threads_that_put_and_get_at_once_leave_it_whole() -> None:
    cache = AnswerCache(20 * SIZE)
    wrong: list[Prediction] = []

    def work(first: int) -> None:
        for step in range(3000):
            told = prediction((first + step * 7) % 50)
            cache.put(told)
            found = cache.get(told.image.sha256)
            if found is not None and found != told:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (wrong, len(cache)) == ([], 20)
