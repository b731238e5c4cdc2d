"""The suite's own arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.bench.figures import Latency, TooFewError, limit, percentile, rate


def test_a_percentile_is_a_value_that_was_seen() -> None:
    hundred = [float(one) for one in range(100, 0, -1)]
    assert [percentile(hundred, share) for share in (0.0, 0.5, 0.95, 0.99, 1.0)] == [1, 50, 95, 99, 100]


def test_the_99th_of_ten_values_is_the_worst() -> None:
    assert percentile([float(one) for one in range(10)], 0.99) == 9


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.floats(0, 1))
def test_as_many_values_as_the_share_says_are_no_larger(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert sum(one <= found for one in values) >= share * len(values) - 1e-6
    assert sum(one < found for one in values) <= share * len(values) + 1e-6


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], -0.1), ([1.0], 1.1)])
def test_no_values_and_no_share_have_no_percentile(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="no"):
        percentile(values, share)


def test_latencies_are_in_milliseconds() -> None:
    found = Latency.of([0.010] * 98 + [0.2, 0.3])
    assert (found.p50, found.p95, found.p99, found.worst, found.events) == (10, 10, 200, 300, 100)


def test_the_limit_is_cores_over_the_sum_of_the_parts() -> None:
    assert limit(2, [0.5, 2.5, 7.0]) == 200
    assert limit(1.5, [10.0]) == 150


def test_parts_that_cost_nothing_have_no_limit() -> None:
    with pytest.raises(ValueError, match="no limit"):
        limit(2, [0.0])


def test_a_rate_counts_whole_bursts() -> None:
    """Twenty outcomes every 0.4 s are 50 a second, wherever the span cuts them; counting in [1, 3) alone says 60."""
    bursts = [0.4 * number for number in range(20) for _ in range(20)]
    assert rate(bursts, 1.0, 2.9) == pytest.approx(50)
    assert rate(bursts, 1.1, 3.3) == pytest.approx(50)


def test_a_rate_does_not_mind_the_order() -> None:
    assert rate([3.0, 1.0, 2.0, 0.0], 0.5, 3.5) == pytest.approx(1)


@pytest.mark.parametrize("times", [[], [5.0, 6.0], [0.5]])
def test_too_few_events_tell_no_rate(times: list[float]) -> None:
    with pytest.raises(TooFewError):
        rate(times, 1.0, 2.0)
