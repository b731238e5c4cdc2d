"""What hypothesis draws events and records from."""

from hypothesis import strategies as st

from consumer.events import ImageUrl
from consumer.records import Record

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
longs = st.integers(-(2**63), 2**63 - 1)
events = st.builds(
    ImageUrl,
    event_id=texts.filter(bool),
    url=texts,
    requested_at=st.none() | longs,
    attributes=st.dictionaries(texts, texts, max_size=5),
)


def record(value: bytes | None, *headers: tuple[str, bytes | None], key: bytes | None = b"k") -> Record:
    """A record of the input topic, at partition 3, offset 41."""
    return Record("image-urls", 3, 41, 1_700_000_000_000, key, value, headers)
