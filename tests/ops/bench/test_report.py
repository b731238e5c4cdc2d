"""What follows from the measured figures, and how it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.bench import table
from ops.bench.figures import Cost, Latency
from ops.bench.processes import BenchError
from ops.bench.report import Machine, Report, Run
from ops.bench.traffic import Seen


def _cost(cpu_ms: float) -> Cost:
    return Cost(cpu_ms, cpu_ms, 100)


def _seen(rate: float, *, service_ms: float, others: float = 0.0, latency: Latency | None = None) -> Seen:
    cpu_ms = {"service": service_ms, "broker": 0.6, "images": 0.1, "bench": 0.3}
    return Seen(50.0 if latency else None, rate, latency, cpu_ms, others, 700.0, lost=0, doubled=0)


@pytest.fixture
def report() -> Report:
    machine = Machine("a processor", ["avx2"], 2, "3.11", {})
    made = Report(machine=machine, began="2026-11-24T12:00:00+00:00", kafka=_cost(0.1))
    made.fetch = {"urllib3 385x500": _cost(0.4), "requests 385x500": _cost(1.0)}
    made.decode = {"xception 385x500": _cost(2.5), "shipped 385x500": _cost(2.0)}
    made.models = {"xception": {"openvino int8 1": _cost(9.0), "openvino int8 8": _cost(6.0)}}
    flat_out = Run("service", "xception", "openvino int8", _seen(160.0, service_ms=9.5))
    half = Run(
        "service",
        "xception",
        "openvino int8",
        _seen(80.0, service_ms=10.0, latency=Latency(60.0, 90.0, 120.0, 200.0, 400)),
        share=0.5,
    )
    made.runs = [flat_out, half]
    return made


def test_the_limit_alone_is_of_the_parts_with_the_model_at_its_best_batch_size(report: Report) -> None:
    assert report.limit_alone(report.runs[0]) == pytest.approx(2000 / (0.4 + 2.5 + 6.0 + 0.1))


def test_what_surrounds_the_service_on_its_cores_counts(report: Report) -> None:
    assert report.limit(report.runs[0]) == pytest.approx(2000 / (9.0 + 1.0))
    assert report.efficiency(report.runs[0]) == pytest.approx(160 / 200)


def test_cores_that_others_used_were_not_there(report: Report) -> None:
    run = Run("service", "xception", "openvino int8", _seen(90.0, service_ms=9.5, others=1.0))
    assert report.limit(run) == pytest.approx(100)
    assert report.efficiency(run) == pytest.approx(0.9)


def test_a_service_is_held_against_its_parts_as_they_were_just_then(report: Report) -> None:
    slow = {"fetch": 0.8, "decode": 5.0, "model": 12.1}
    run = Run("service", "xception", "openvino int8", _seen(80.0, service_ms=19.0), alone=slow)
    assert report.limit_alone(run) == pytest.approx(2000 / (0.8 + 5.0 + 12.1 + 0.1))
    assert report.efficiency(run) == pytest.approx(80 / (2000 / (18.0 + 1.0)))


def test_of_several_rounds_the_median_counts_and_the_table_shows_how_far_they_are_apart(report: Report) -> None:
    rounds = [
        Run("service", "xception", "openvino int8", _seen(rate, service_ms=9.5)) for rate in (190.0, 120.0, 180.0)
    ]
    counted = report.usual(rounds)
    assert counted.seen.rate == 180
    assert counted.rounds == pytest.approx([0.95, 0.6, 0.9])
    report.runs = [counted]
    assert table.rows(report)[-1][-1] == "0.90 (0.60–0.95)"


def test_bookkeeping_is_what_fetch_decode_and_model_do_not_explain(report: Report) -> None:
    assert report.rest_ms(report.runs[0]) == pytest.approx(9.5 - 0.4 - 2.5 - 6.0)


def test_a_backend_that_was_not_measured_alone_is_named(report: Report) -> None:
    with pytest.raises(KeyError, match="tensorflow float32 was not measured"):
        report.model_ms("xception", "tensorflow float32")


def test_a_backends_name_is_matched_whole(report: Report) -> None:
    report.models["xception"]["openvino int81 4"] = _cost(0.1)
    assert report.model_ms("xception", "openvino int8") == 6.0


def test_the_report_survives_its_file(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "bench.json")
    assert Report.read(tmp_path / "bench.json") == report


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read: No such file"), ("[", "is no report that --json wrote"), ("{}", "is no report")],
)
def test_what_is_no_report_is_told_in_one_line(content: str | None, told: str, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(BenchError, match=told):
        Report.read(file)


def test_the_table_shows_parts_limit_and_runs_in_this_order(report: Report) -> None:
    rows = table.rows(report)
    assert [row[0] for row in rows] == [
        "fetch alone, urllib3 385x500",
        "fetch alone, requests 385x500",
        "decode and resize alone, xception 385x500",
        "decode and resize alone, shipped 385x500",
        "xception alone, openvino int8, batches of 8",
        "Kafka alone, consume and produce",
        "limit of 2 cores: xception, openvino int8",
        "limit of 2 cores: xception, openvino int8, broker and load on them too",
        "service, xception, openvino int8",
        "service, xception, openvino int8, at 50%",
    ]
    assert rows[-4][1:3] == ("9.00", "222.2")
    assert rows[-3][1:3] == ("", "200.0")
    assert rows[-2][1:] == ("9.50", "160.0", "", "", "", "700", "0.80")
    assert rows[-1][1:] == ("10.00", "80.0", "60", "90", "120", "700", "")


def test_the_readmes_table_names_the_processor_and_who_else_was_there(report: Report) -> None:
    assert table.markdown(report).startswith("a processor (avx2), 2 cores, 2026-11-24:\n\n|  | CPU ms")
    report.runs.append(Run("service", "xception", "openvino int8", _seen(90.0, service_ms=9.5, others=0.7)))
    assert "others used up to 0.7 cores" in table.title(report)


def test_the_ledger_says_where_an_events_cpu_goes(report: Report) -> None:
    (line,) = table.ledger(report)
    assert "9.50 ms of CPU an event = fetch 0.40, decode 2.50, model 6.00, the rest 0.60" in line
    assert "broker 0.60, images 0.10, bench 0.30" in line
