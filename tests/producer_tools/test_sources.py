"""What files and arguments say, as events."""

import time
from io import BytesIO
from typing import Any

import pytest

from consumer.errors import SettingsError
from producer_tools.lines import Lines
from producer_tools.sources import BadLine, Entry, Kind, from_urls, kind_of, read


def entries(data: str | bytes, kind: Kind, key: str | None = None) -> list[Entry | BadLine]:
    raw = data if isinstance(data, bytes) else data.encode()
    return list(read(Lines(BytesIO(raw)), kind, key))


def only(found: list[Entry | BadLine]) -> Entry:
    (entry,) = found
    assert isinstance(entry, Entry)
    return entry


def urls(found: list[Entry | BadLine]) -> list[Any]:
    """The URL of each event; of a bad line its place and reason."""
    return [entry.event.url if isinstance(entry, Entry) else (entry.where, entry.why) for entry in found]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.csv", "csv"), ("A.TSV", "csv"), ("a.jsonl", "jsonl"), ("a.ndjson", "jsonl"), ("a.txt", "text"), ("-", "text")],
)
def test_a_files_name_says_its_form(name: str, kind: Kind) -> None:
    assert kind_of(name) == kind


def test_text_has_a_url_on_each_line_and_comments() -> None:
    found = entries("# shops\n\n  http://a/1.jpg#top  \r\nnot a url\nhttp://b\n", "text")
    assert urls(found) == ["http://a/1.jpg#top", "not a url", "http://b"]


def test_text_may_hold_json_events_so_that_stdin_needs_no_option() -> None:
    entry = only(entries('{"url": "http://a", "attributes": {"shop": "1"}}', "text"))
    assert (entry.event.url, entry.event.attributes) == ("http://a", {"shop": "1"})


def test_an_event_without_id_and_time_is_given_both() -> None:
    before = time.time() * 1000
    one, other = (only(entries("http://a", "text")).event for _ in range(2))
    assert one.event_id != other.event_id
    assert one.requested_at is not None
    assert before - 1 <= one.requested_at <= time.time() * 1000


def test_json_lines_are_events_and_perhaps_a_key() -> None:
    line = '{"event_id": "e", "url": "u", "requested_at": 7, "attributes": {"a": "b"}, "key": "k", "more": 1}'
    entry = only(entries(line, "jsonl"))
    assert entry.key == b"k"
    assert entry.event.event_id == "e"
    assert entry.event.requested_at == 7
    assert entry.event.attributes == {"a": "b"}


def test_bad_json_lines_are_told_and_the_others_go_on() -> None:
    bad = [b"http://b", b"[]", b'{"url": 1}', b"\xff", b'{"url": "c", "key": 5}', b'{"url": "c", "key": "\\ud800"}']
    data = b"\n".join([b'{"url": "a"}', *bad, b'{"url": "d"}'])
    assert urls(entries(data, "jsonl")) == [
        "a",
        ("line 2", "the value is not valid JSON (character 0)"),
        ("line 3", "the JSON value is a list instead of an object"),
        ("line 4", "the event's url is a number instead of a string"),
        ("line 5", "not UTF-8"),
        ("line 6", "its key is not a string"),
        ("line 7", "'utf-8' codec can't encode character '\\ud800' in position 0: surrogates not allowed"),
        "d",
    ]


@pytest.mark.parametrize("comma", [",", ";", "\t"])
def test_csv_columns_are_the_events_fields_its_key_and_attributes(comma: str) -> None:
    data = 'shop,url,event_id,key,requested_at,colour\n1,"http://a",e,k,7,\n'.replace(",", comma)
    entry = only(entries("\ufeff" + data, "csv"))
    assert entry.key == b"k"
    assert entry.event.event_id == "e"
    assert entry.event.url == "http://a"
    assert entry.event.requested_at == 7
    assert entry.event.attributes == {"shop": "1"}


def test_csv_cells_may_hold_commas_quotes_and_lines() -> None:
    entry = only(entries('url,note\nhttp://a,"one, ""two""\nthree"\n', "csv"))
    assert entry.event.attributes == {"note": 'one, "two"\nthree'}


def test_bad_csv_rows_are_told_and_the_others_go_on() -> None:
    data = b'url,n,requested_at\nhttp://a,1,\nhttp://b,2\n\n,3,\nhttp://c,\xff,\nhttp://d,"x"y,\nhttp://e,4,soon\nhttp://f,5,\n'
    assert urls(entries(data, "csv")) == [
        "http://a",
        ("line 3", "it has 2 cells and the first line 3"),
        ("line 5", "the event has no url"),
        ("line 6", "not UTF-8"),
        ("line 7", "',' expected after '\"'"),
        ("line 8", "the event's requested_at is a string instead of an integer of milliseconds"),
        "http://f",
    ]


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"a,b\n1,2\n", b"url,url\n", b"url,,\n", b"\xff\n", b'"' + b"x" * 200_000]
)
def test_a_csv_file_without_a_usable_first_line_is_refused(data: bytes) -> None:
    with pytest.raises(SettingsError, match="the CSV file's first line"):
        entries(data, "csv")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, b"own"),
        ("none", None),
        ("url", b"http://Shop.example:8080/a"),
        ("event_id", b"e"),
        ("host", b"shop.example"),
        ("colour", "röd".encode()),
    ],
)
def test_the_key_is_chosen(choice: str | None, expected: bytes | None) -> None:
    data = "url,event_id,key,colour\nhttp://Shop.example:8080/a,e,own,röd\n"
    assert only(entries(data, "csv", choice)).key == expected


@pytest.mark.parametrize(
    ("url", "choice", "why"),
    [
        ("a", "host", "its url has no host that could be the key"),
        ("http://[::1", "host", "Invalid IPv6 URL"),
        ("a", "colour", "it has no attribute colour that could be the key"),
    ],
)
def test_what_lacks_the_chosen_key_is_a_bad_line(url: str, choice: str, why: str) -> None:
    assert list(from_urls([url], choice)) == [BadLine("URL 1", why)]


def test_arguments_are_urls_as_they_are() -> None:
    assert urls(list(from_urls(["http://a", "", "no url", "\udcff"]))) == [
        "http://a",
        "",
        "no url",
        ("URL 4", "the event holds a text that is no Unicode"),
    ]
