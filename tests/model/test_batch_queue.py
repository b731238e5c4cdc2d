"""When a batch goes and who is in it, without a thread and with a clock of numbers."""

from __future__ import annotations

import numpy as np

from consumer.model.batch_queue import HEAD_START_S, BatchQueue, Waiting


def came(queue: BatchQueue, number: int, since: float, *, urgent: bool = False) -> Waiting:
    one = Waiting(np.full((1, 1, 3), number, np.uint8), since)
    queue.put(one, urgent=urgent)
    return one


def taken(queue: BatchQueue) -> list[int]:
    return [int(one.pixels[0, 0, 0]) for one in queue.take()]


def test_a_single_image_goes_at_once() -> None:
    queue = BatchQueue(max_size=8, max_wait_s=1.0)
    came(queue, 1, since=0.0)
    assert queue.wait_s(0.0) == 0.0
    assert taken(queue) == [1]
    came(queue, 2, since=1.0)
    assert queue.wait_s(1.0) == 0.0


def test_an_image_of_a_stream_waits_for_company_but_no_longer_than_it_may() -> None:
    queue = BatchQueue(max_size=8, max_wait_s=1.0)
    came(queue, 1, since=4.5)
    assert taken(queue) == [1]
    came(queue, 2, since=5.0)
    assert queue.wait_s(5.25) == 0.75
    came(queue, 3, since=5.9)
    assert queue.wait_s(5.9) == 5.0 + 1.0 - 5.9  # from the oldest image on
    assert queue.wait_s(7.0) == 0.0
    assert taken(queue) == [2, 3]


def test_what_gathered_during_a_long_call_goes_when_it_ends() -> None:
    queue = BatchQueue(max_size=8, max_wait_s=0.005)
    for number in range(4):
        came(queue, number, since=number * 0.001)
    assert queue.wait_s(0.100) == 0.0


def test_a_full_batch_goes_at_once() -> None:
    queue = BatchQueue(max_size=2, max_wait_s=1.0)
    came(queue, 0, since=0.0)
    assert taken(queue) == [0]
    came(queue, 1, since=0.1)
    assert queue.wait_s(0.1) == 1.0
    came(queue, 2, since=0.2)
    assert queue.wait_s(0.2) == 0.0


def test_an_urgent_image_goes_at_once_and_takes_along_who_waits() -> None:
    queue = BatchQueue(max_size=2, max_wait_s=1.0)
    came(queue, 0, since=0.0)
    assert taken(queue) == [0]
    came(queue, 1, since=0.1)
    came(queue, 2, since=0.2, urgent=True)
    assert queue.wait_s(0.2) == 0.0
    assert taken(queue) == [2, 1]


def test_a_batch_is_the_largest_warm_shape_that_can_be_filled() -> None:
    queue = BatchQueue(max_size=16, max_wait_s=1.0)
    for number in range(13):
        came(queue, number, since=0.0)
    assert taken(queue) == list(range(8))
    came(queue, 13, since=0.5)
    assert taken(queue) == [8, 9, 10, 11]
    assert taken(queue) == [12, 13]
    assert taken(queue) == []


def test_a_flood_of_urgent_images_does_not_hold_the_others_up_for_good() -> None:
    queue = BatchQueue(max_size=1, max_wait_s=0.0)
    came(queue, 200, since=0.0)
    order = []
    for number in range(100):  # one urgent image comes for every one that is answered
        came(queue, number, since=(number + 1) / 10, urgent=True)
        order += taken(queue)
    assert order.index(200) == int(HEAD_START_S * 10)


def test_urgent_images_keep_their_order_among_themselves_and_so_do_the_others() -> None:
    queue = BatchQueue(max_size=8, max_wait_s=1.0)
    for number in range(8):
        came(queue, number, since=number / 100, urgent=number % 2 == 1)
    assert taken(queue) == [1, 3, 5, 7, 0, 2, 4, 6]


def test_who_was_cancelled_is_left_out_and_the_next_moves_up() -> None:
    queue = BatchQueue(max_size=2, max_wait_s=1.0)
    waiting = [came(queue, number, since=0.0) for number in range(4)]
    assert waiting[0].answer.cancel()
    assert taken(queue) == [1, 2]
    assert not waiting[1].answer.cancel()
    assert waiting[3].answer.cancel()
    assert taken(queue) == []
    assert len(queue) == 0
