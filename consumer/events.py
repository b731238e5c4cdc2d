"""What the service speaks of, as frozen dataclasses that know neither Avro nor Kafka.

An `ImageUrl` event comes in; a `Prediction` or a `Failure` comes out; `ImagePrediction` is the whole
record that subscribers read, with the event's source and the model that answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consumer.errors import EventError, Stage

Probabilities = Mapping[str, Mapping[str, float]]
"""Task → label → probability; the labels of one task sum to 1."""


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """One image that somebody wants to know about.

    ``requested_at`` is in milliseconds since the epoch. ``attributes`` are the caller's own and come
    back unchanged.
    """

    event_id: str
    url: str
    requested_at: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """Where an event stood: the coordinates that make its outcome traceable.

    ``timestamp`` is the record's own, in milliseconds since the epoch; -1 if it had none.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model answered, and how it was run."""

    name: str
    version: str
    backend: str
    precision: str = "float32"


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The image that was classified: ``sha256`` of its bytes as they came, its size in pixels and bytes."""

    sha256: str
    format: str
    width: int
    height: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's answer for one image."""

    probabilities: Probabilities
    image: ImageInfo
    recalled: bool = field(default=False, compare=False)
    """Whether the model said so of the same bytes earlier, and was not asked this time."""

    @property
    def labels(self) -> dict[str, str]:
        """Task → its most probable label; the first one in the configuration's order on a tie."""
        return {task: max(of, key=of.__getitem__) for task, of in self.probabilities.items()}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer for one event, in the words of `consumer.errors`."""

    code: str
    message: str
    retriable: bool
    attempts: int
    stage: Stage
    exception: str
    """Name of the exception's class, for the dead letter's ``__connect.errors.exception.class.name``."""
    foreseen: bool = True
    """False for a mistake of ours, which has a code only because everything has one."""

    @classmethod
    def of(cls, error: EventError) -> Failure:
        """The failure that an `EventError` stands for."""
        kind = type(error)
        return cls(
            code=error.code,
            message=str(error),
            retriable=error.retriable,
            attempts=error.attempts,
            stage=error.stage,
            exception=f"{kind.__module__}.{kind.__qualname__}",
        )


Answer = Prediction | Failure
"""What the predictor says of one URL."""


@dataclass(frozen=True, slots=True)
class ImagePrediction:
    """The outcome record: everything that a subscriber gets for one readable event.

    ``predicted_at`` is in milliseconds since the epoch.
    """

    event: ImageUrl
    source: Source
    answer: Answer
    model: ModelInfo
    predicted_at: int
