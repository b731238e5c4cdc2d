"""Records of the input topic: which are events, and what is said of the others."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.codec import EVENT_MAX_BYTES, avro, decode_event, encode_event
from consumer.errors import EventUnreadable
from consumer.events import ImageUrl
from schemas import IMAGE_PREDICTION, IMAGE_URL
from tests.codec.strategies import events, record

FORMATS: list[Literal["avro", "json"]] = ["avro", "json"]
EVENT = ImageUrl("e-1", "https://example.com/a.jpg", 1_700_000_000_000, {"product": "17"})
SECRET = "s3cr3t"


@pytest.mark.parametrize("output_format", FORMATS)
@given(event=events)
def test_an_event_survives_the_way_through_bytes(output_format: Literal["avro", "json"], event: ImageUrl) -> None:
    assert decode_event(record(encode_event(event, output_format))) == event


def test_avro_bytes_are_what_the_specification_says() -> None:
    value = encode_event(ImageUrl("a", "b", 1, {"c": "d"}), "avro")
    # marker, fingerprint, union branch 1 + "a", "b", branch 1 + zigzag 1, one pair, end of map
    assert value == b"\xc3\x01" + IMAGE_URL.fingerprint + b"\x02\x02a" + b"\x02b" + b"\x02\x02" + b"\x02\x02c\x02d\x00"


def test_json_may_leave_out_all_but_the_url_and_add_what_we_do_not_know() -> None:
    value = b'{"url": "u", "from a later version": [1, {"x": null}]}'
    assert decode_event(record(value)) == ImageUrl("image-urls-3-41", "u")


def test_null_means_missing() -> None:
    value = b'{"url": "u", "event_id": null, "requested_at": null, "attributes": null}'
    assert decode_event(record(value)) == ImageUrl("image-urls-3-41", "u")


@pytest.mark.parametrize(
    ("own", "headers", "expected"),
    [
        ("own", [b"header"], "own"),
        (None, [b"header"], "header"),
        ("", [b"header"], "header"),
        (None, ["ключ".encode()], "ключ"),
        (None, [b"first", b"last"], "last"),
        (None, [], "image-urls-3-41"),
        (None, [None], "image-urls-3-41"),
        (None, [b""], "image-urls-3-41"),
        (None, [b"\xff not UTF-8"], "image-urls-3-41"),
    ],
)
@pytest.mark.parametrize("output_format", FORMATS)
def test_the_id_is_the_values_own_else_the_headers_else_made_of_the_coordinates(
    own: str | None, headers: list[bytes | None], expected: str, output_format: Literal["avro", "json"]
) -> None:
    fields: dict[str, object] = {"event_id": own, "url": "u", "requested_at": None, "attributes": {}}
    value = avro.encode(IMAGE_URL, fields) if output_format == "avro" else json.dumps(fields).encode()
    assert decode_event(record(value, *(("ce_id", header) for header in headers))).event_id == expected


def avro_value(body: bytes) -> bytes:
    return avro.MAGIC + IMAGE_URL.fingerprint + body


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "the record has no value (a tombstone)"),
        (b"", "the record's value is empty"),
        (b"s3cr3t", "neither JSON"),
        (b'\xef\xbb\xbf{"url": "u"}', "neither JSON"),
        (b' {"url": "u"}', "the JSON value does not begin with the { of an object"),
        (b'["u"]', "the JSON value is a list instead of an object"),
        (b"[]\n", "the JSON value is a list instead of an object"),
        (b"null", "the JSON value is null instead of an object"),
        (b"true", "the JSON value is a boolean instead of an object"),
        (b'"http://a/b.jpg"', "the JSON value is a string instead of an object"),
        (b"-17.5", "the JSON value is a number instead of an object"),
        (b"17 apples", "the value is not valid JSON"),
        (b"\0\0\0\0\x07s3cr3t", "in Confluent wire format, which takes a schema registry"),
        (b"{" * 10, "the value is not valid JSON (character 1)"),
        (b'{"url": "s3cr3t"', "the value is not valid JSON (character 16)"),
        (b'{"url": "u"} s3cr3t', "the value is not valid JSON (character 13)"),
        (b'{"url": "s3cr3t\xff"}', "the JSON value is not UTF-8 (byte 15)"),
        (b'{"url": "u", "url": "s3cr3t"}', "the same key twice"),
        (b'{"url": "u", "more": {"s3cr3t": 1, "s3cr3t": 2}}', "the same key twice"),
        (b'{"url": "u", "more": NaN}', "holds NaN or Infinity"),
        (b'{"url": "u", "more": -Infinity}', "holds NaN or Infinity"),
        (b'{"url": "u", "more": ' + b"9" * 5000 + b"}", "a number with too many digits"),
        (b'{"url": "u", "more": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"{}", "the event has no url"),
        (b'{"url": null}', "the event has no url"),
        (b'{"url": 17}', "url is a number instead of a string"),
        (b'{"url": ["s3cr3t"]}', "url is a list instead of a string"),
        (b'{"url": {"s3cr3t": 1}}', "url is an object instead of a string"),
        (b'{"url": true}', "url is a boolean instead of a string"),
        (b'{"url": "\\ud800"}', "a text that is no Unicode"),
        (b'{"url": "u", "attributes": {"\\udfff": ""}}', "a text that is no Unicode"),
        (b'{"url": "u", "event_id": 17}', "event_id is a number instead of a string"),
        (b'{"url": "u", "requested_at": "2026-01-01T00:00:00Z"}', "requested_at is a string instead of an integer"),
        (b'{"url": "u", "requested_at": 1.5}', "requested_at is a number instead of an integer"),
        (b'{"url": "u", "requested_at": true}', "requested_at is a boolean instead of an integer"),
        (b'{"url": "u", "requested_at": 9223372036854775808}', "does not fit 64 bits"),
        (b'{"url": "u", "attributes": ["s3cr3t"]}', "attributes are not a map of strings"),
        (b'{"url": "u", "attributes": {"s3cr3t": 1}}', "attributes are not a map of strings"),
        (b'{"url": "u", "attributes": {"s3cr3t": null}}', "attributes are not a map of strings"),
        (b"\xc3", "ends inside its first 10 bytes"),
        (avro.MAGIC + IMAGE_URL.fingerprint[:7], "ends inside its first 10 bytes"),
        (avro.MAGIC + b"s3cr3t!!" + b"\0\2u\0\0", "another schema than image_consumer.ImageUrl's"),
        (avro.MAGIC + IMAGE_PREDICTION.fingerprint + b"\0\2u\0\0", "another schema than image_consumer.ImageUrl's"),
        (avro_value(b""), "cut or damaged"),
        (avro_value(b"\0\x0cs3cr3"), "cut or damaged"),
        (avro_value(b"\0\2\xff\0\0"), "cut or damaged"),
        (avro_value(b"\7\2u\0\0"), "cut or damaged"),
        (avro_value(b"\xff" * 30), "cut or damaged"),
        (avro_value(b"\0" + b"\xfe" * 9 + b"\1"), "cut or damaged"),
        (avro_value(b"\0\2u\0" + b"\xfe" * 9 + b"\1"), "cut or damaged"),
        (avro_value(b"\0\2u\0\0s3cr3t"), "has 6 bytes too many"),
        (b'{"url": "' + b"s3cr3t" * 200_000 + b'"}', "has 1200011 bytes, more than 1048576"),
    ],
    ids=lambda part: repr(part[:30]) if part else repr(part),
)
def test_what_is_no_event_is_refused_in_words_that_repeat_nothing_of_it(value: bytes | None, message: str) -> None:
    with pytest.raises(EventUnreadable) as caught:
        decode_event(record(value))
    text = str(caught.value)
    assert message in text
    assert SECRET not in text
    assert "\n" not in text
    assert caught.value.code == "event_unreadable"


def test_the_largest_event_that_a_broker_takes_by_default_is_read() -> None:
    frame = b'{"url": ""}'
    value = b'{"url": "' + b"u" * (EVENT_MAX_BYTES - len(frame)) + b'"}'
    assert len(decode_event(record(value)).url) == EVENT_MAX_BYTES - len(frame)


@pytest.mark.parametrize(
    "value",
    [
        b'{"url": "u", "attributes": {' + b",".join(b'"%d":""' % n for n in range(100_000))[:-100] + b"}}",
        avro_value(b"\0\2u\0" + b"\x80\x80\x80\x02" + b"\0\0" * 520_000),
        avro_value(b"\0\2u\0" + b"\x01\xff\xff\xff\xff\x0f" * 100_000),
        avro_value(b"\0\2u\0" + b"\xfe\xff\xff\xff\x07" + b"\0\0" * 500_000),
    ],
    ids=["a million keys", "a million pairs", "a hundred thousand blocks", "more pairs than bytes"],
)
def test_a_hostile_value_of_full_size_is_done_with_quickly(value: bytes) -> None:
    assert len(value) > EVENT_MAX_BYTES / 2
    start = time.process_time()
    with pytest.raises(EventUnreadable):
        decode_event(record(value))
    assert time.process_time() - start < 2  # 0.1 s of CPU here


mutations = st.one_of(
    st.builds(lambda at: lambda data: data[: at % (len(data) + 1)], st.integers(0)),
    st.builds(
        lambda at, new: lambda data: data[: at % len(data)] + new + data[at % len(data) + len(new) :],
        st.integers(0),
        st.binary(min_size=1, max_size=12),
    ),
    st.builds(
        lambda at, new: lambda data: data[: at % len(data)] + new + data[at % len(data) :], st.integers(0), st.binary()
    ),
    st.builds(lambda new: lambda data: data + new, st.binary(min_size=1)),
)


@pytest.mark.parametrize("output_format", FORMATS)
@given(event=events, mutate=mutations)
def test_a_damaged_event_is_another_event_or_unreadable_and_nothing_else(
    output_format: Literal["avro", "json"], event: ImageUrl, mutate: Callable[[bytes], bytes]
) -> None:
    try:
        read = decode_event(record(mutate(encode_event(event, output_format))))
    except EventUnreadable:
        return
    assert decode_event(record(encode_event(read, output_format))) == read


@given(value=st.binary(max_size=200).map(avro_value) | st.binary(max_size=50))
def test_noise_is_an_event_or_unreadable_and_nothing_else(value: bytes) -> None:
    with suppress(EventUnreadable):
        decode_event(record(value))


def test_the_avro_of_other_writers_may_use_blocks_with_sizes() -> None:
    """A negative count of pairs is followed by the block's size in bytes; Java's blocking encoder writes so."""
    body = b"\0\2u\0" + b"\x01\x08\x02c\x02d" + b"\0"
    assert decode_event(record(avro_value(body))).attributes == {"c": "d"}
