"""`image-tools watch` against the embedded broker, and what only Apache Kafka can show."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions

from consumer.codec.predictions import encode_prediction
from consumer.events import Failure, ImageInfo, ImagePrediction, ImageUrl, ModelInfo, Prediction, Source
from consumer.records import Message
from producer_tools import watch
from producer_tools.cli import main
from producer_tools.watch import line
from tests.brokers import Kafka
from tests.producer_tools.conftest import Broker, Result

Tools = Callable[..., Result]
MODEL = ModelInfo("garments", "1", "tensorflow")
FAILURE = Failure("http_status", "the server answered with status 404", False, 1, "fetch", "consumer.errors.HttpStatus")
ANSWER = Prediction(
    {"print": {"solid": 0.25, "striped": 0.75}, "sleeves": {"long": 0.875, "short": 0.125}},
    ImageInfo("ab" * 32, "JPEG", 385, 500, 33_333),
)


def outcome(url: str, answer: Prediction | Failure = ANSWER, partition: int = 0, form: str = "avro") -> Message:
    event, source = ImageUrl(url, url), Source("image-urls", partition, 0, 0)
    record = ImagePrediction(event, source, answer, MODEL, 1_700_000_000_500)
    return Message("", None, encode_prediction(record, "json" if form == "json" else "avro"), (), partition)


def test_outcomes_are_lines_with_labels_or_with_the_error(tools: Tools, broker: Broker) -> None:
    broker.write(outcome("http://a/1"), outcome("http://a/2", FAILURE))
    result = tools("watch", "--from-beginning", "--limit", "2")
    assert result.code == 0
    assert [text.split("  ", 1)[1] for text in result.out.splitlines()] == [
        "0@0         print striped 0.75  sleeves long 0.88  http://a/1",
        "0@1         http_status  the server answered with status 404  http://a/2",
    ]
    assert result.err == (f"image-tools: watching {broker.topic} at {broker.address} from the beginning; Ctrl-C ends\n")


def test_json_lines_are_the_records_whatever_form_they_came_in(tools: Tools, broker: Broker) -> None:
    broker.write(outcome("http://a/é"), outcome("http://a/é", form="json"))
    result = tools("watch", "--from-beginning", "--limit", "2", "--format", "json")
    one, other = map(json.loads, result.out.splitlines())
    assert one == other
    assert one["labels"] == {"print": "striped", "sleeves": "long"}
    assert "http://a/é" in result.out


def test_failures_alone_are_shown_on_demand_and_the_limit_counts_what_is_shown(tools: Tools, broker: Broker) -> None:
    broker.write(
        outcome("http://a/1"), outcome("http://a/2", FAILURE), outcome("http://a/3"), outcome("http://a/4", FAILURE)
    )
    result = tools("watch", "--from-beginning", "--failed", "--limit", "2", "--format", "json")
    assert [json.loads(text)["url"] for text in result.out.splitlines()] == ["http://a/2", "http://a/4"]


def test_by_default_only_what_comes_from_now_on_is_shown(
    tools: Tools, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.write(*(outcome("http://old", partition=number) for number in range(4)))
    made = watch.Follower.__init__

    def make_then_publish(*arguments: object, **options: object) -> None:
        made(*arguments, **options)  # type: ignore[arg-type] # passed on as it came
        broker.write(*(outcome(f"http://new/{number}", partition=number) for number in range(4)))

    monkeypatch.setattr(watch.Follower, "__init__", make_then_publish)
    result = tools("watch", "--limit", "4", "--format", "json")
    assert {json.loads(text)["url"] for text in result.out.splitlines()} == {f"http://new/{n}" for n in range(4)}


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--limit", "1"], 1)])
def test_a_timeout_ends_it_and_fails_only_if_more_was_asked_for(tools: Tools, arguments: list[str], code: int) -> None:
    assert tools("watch", "--timeout", "0.3", *arguments).code == code


def test_what_is_no_outcome_is_told_and_the_others_go_on(tools: Tools, broker: Broker) -> None:
    broker.write(Message("", None, b"noise", (), 0), Message("", None, None, (), 0), outcome("http://a/1"))
    result = tools("watch", "--from-beginning", "--limit", "1")
    assert result.code == 1
    assert [text.split(":")[1] for text in result.err.splitlines()[1:]] == [
        " 0@0 is no outcome",
        " 0@1 is no outcome",
    ]
    assert "http://a/1" in result.out


def test_a_missing_topic_ends_with_4(tools: Tools) -> None:
    result = tools("watch", "--topic", "nowhere")
    assert (result.code, result.out) == (4, "")
    assert result.err.startswith("image-tools: topic 'nowhere' does not exist at ")


def test_a_url_cannot_write_to_the_terminal() -> None:
    event = {
        "url": "http://a/\x1b[2J\r\n\u202e",
        "predicted_at": 10**30,
        "labels": {},
        "predictions": {},
        "error": None,
    }
    text = line("0@0", event).plain
    assert text.isprintable()
    assert text.endswith("http://a/\\x1b[2J\\r\\n\\u202e")


def test_square_brackets_are_no_markup() -> None:
    event = {"url": "http://[::1]/[red]", "predicted_at": 0, "labels": {}, "predictions": {}, "error": None}
    assert line("0@0", event).plain.endswith("http://[::1]/[red]")


# ── as a process ─────────────────────────────────────────────────────────────────────────────────


def start(broker: Broker, *arguments: str) -> "subprocess.Popen[str]":
    where = ["--bootstrap-servers", broker.address, "--topic", broker.topic]
    command = [sys.executable, "-m", "producer_tools", "watch", *where, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_ends_it_with_0_and_without_a_word(broker: Broker) -> None:
    with start(broker) as process:
        assert process.stderr
        assert "watching" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_reader_that_goes_away_ends_it_without_a_word(broker: Broker) -> None:
    broker.write(*(outcome(f"http://a/{number}") for number in range(2000)))
    with start(broker, "--from-beginning", "--format", "json") as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().startswith("{")
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read().count("\n") == 1


@pytest.mark.parametrize(("form", "end"), [("text", "  http://a/1\n"), ("json", "}\n")])
def test_it_speaks_line_by_line_into_a_pipe(broker: Broker, form: str, end: str) -> None:
    with start(broker, "--format", form) as process:
        assert process.stdout
        assert process.stderr
        assert "watching" in process.stderr.readline()
        broker.write(outcome("http://a/1"))
        assert process.stdout.readline().endswith(end)
        process.terminate()


# ── on Apache Kafka ──────────────────────────────────────────────────────────────────────────────


def test_what_was_aborted_is_not_shown(kafka: Kafka, capsys: pytest.CaptureFixture[str]) -> None:
    topic = kafka.unique_topic("outcomes")
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": topic})
    producer.init_transactions(20)
    for url, end in (("http://aborted", producer.abort_transaction), ("http://committed", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, outcome(url).value)
        producer.flush(10)
        end(20)
    where = ["--bootstrap-servers", kafka.bootstrap_servers, "--topic", topic]
    assert main(["watch", *where, "--from-beginning", "--limit", "1"]) == 0
    assert capsys.readouterr().out.endswith("http://committed\n")


def test_partitions_that_are_added_are_followed_from_their_beginning(
    kafka: Kafka, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka.unique_topic("outcomes")
    monkeypatch.setattr(watch, "NEW_PARTITIONS_S", 0.1)
    servers = {"bootstrap.servers": kafka.bootstrap_servers}
    made = watch.Follower.__init__

    def make_then_add(*arguments: object, **options: object) -> None:
        made(*arguments, **options)  # type: ignore[arg-type] # passed on as it came
        admin = AdminClient(servers)
        admin.create_partitions([NewPartitions(topic, 3)])[topic].result(20)
        producer = Producer(servers | {"topic.metadata.refresh.interval.ms": 100})
        for number in range(3):
            producer.produce(topic, outcome(f"http://a/{number}").value, partition=number)
        assert producer.flush(20) == 0

    monkeypatch.setattr(watch.Follower, "__init__", make_then_add)
    where = ["--bootstrap-servers", kafka.bootstrap_servers, "--topic", topic]
    assert main(["watch", *where, "--limit", "3", "--timeout", "30", "--format", "json"]) == 0
    shown = {json.loads(text)["url"] for text in capsys.readouterr().out.splitlines()}
    assert shown == {f"http://a/{number}" for number in range(3)}
