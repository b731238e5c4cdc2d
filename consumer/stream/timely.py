"""A producer whose every call keeps to its time, and its end too.

All of librdkafka's transactional calls do, but for the one that hands the consumer's offsets over. It looks for the
group's coordinator first, without a limit (librdkafka #5456: ``creq_ts_timeout`` is set and never read), and where
the broker that it knows as such has left the cluster, it waits for some *other* broker's connection to change (#5511).
So after every planned restart of a coordinator a publication could stand for minutes, and the whole stream with it.

Here that call runs on a thread of its own, and is waited for as long as was said. Who gives up on it lets go of the
producer: another one, under the same transactional id, knows no coordinator yet and asks for it, and ends what this
one may still send late. The thread, and the producer with it, lasts until librdkafka answers:
`consumer.stream.hand_overs` keeps them few.

To destroy a producer means to wait for librdkafka's threads, which may ask a resolver that does not answer: 24 s where
each question took as long. Whoever drops the last reference would stand still for that. So it ends on a thread of its
own, whoever drops it.
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

UNANSWERED = KafkaError(KafkaError._TIMED_OUT, "no answer from the group's coordinator", retriable=True)

LEAVING = "destroy"
"""The name of the threads on which producers end."""

ALONE = 2
"""References: the list's, and that of who counts them."""


class TimelyProducer(Producer):
    """See the module's text."""

    _handing_over: Future[None] | None = None

    def __del__(self) -> None:
        """Python calls it once; what is dropped after that is destroyed then and there, by the thread."""
        if sys.is_finalizing():  # no thread begins any more: before 3.12 its start is waited for in vain
            return
        with suppress(RuntimeError):  # nor a little earlier
            threading.Thread(target=_destroy, args=([self],), name=LEAVING, daemon=True).start()

    def send_offsets_to_transaction(self, positions: list[TopicPartition], group_metadata: Any, timeout: float) -> None:
        """As the base's; within ``timeout`` seconds. Called again, it waits for the answer to the first call.

        Raises:
            KafkaException: as the base's; retriable if there is no answer yet.
        """
        if self._handing_over is None:
            answer: Future[None] = Future()
            self._handing_over = answer
            call = super().send_offsets_to_transaction

            def hand_over() -> None:
                try:
                    call(positions, group_metadata, timeout)
                except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where it is waited for
                    answer.set_exception(error.with_traceback(None))  # its frames would hold the producer
                else:
                    answer.set_result(None)

            threading.Thread(target=hand_over, name="offsets", daemon=True).start()
        try:
            self._handing_over.result(timeout)
        except TimeoutError:
            raise KafkaException(UNANSWERED) from None
        except BaseException:  # whatever it was, it is the answer, and the next call asks anew
            self._handing_over = None
            raise
        self._handing_over = None


def leaving() -> int:
    """How many producers were given up and are not gone yet."""
    return sum(thread.name == LEAVING for thread in threading.enumerate())


def _destroy(last: list[Producer]) -> None:
    """Drops what is in the list once nobody else holds it: ``__del__`` itself still does, for a moment."""
    while sys.getrefcount(last[0]) > ALONE:
        time.sleep(0.001)
    last.clear()
