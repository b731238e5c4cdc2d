"""The fastest backend answers, and only if it agrees with TensorFlow in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest

from consumer.errors import ModelError
from consumer.model import ModelConfig, openvino, selection, trials
from consumer.model.choice import Choice
from consumer.model.heads import Heads, Pixels
from consumer.model.loading import load_graph
from consumer.model.openvino import Converted
from consumer.model.probes import Probes, probe_images
from consumer.model.processor import Processor
from consumer.model.selection import Workshop, select
from consumer.model.tensorflow import TensorFlowBackend
from consumer.settings import Settings

SIZE = (24, 32)

Choose = Callable[..., Choice]


@dataclass
class Fake:
    """A backend of one task that is sure of its first label; an image takes a time of its own on a clock of numbers."""

    name: str
    precision: str
    takes: float
    sure: float = 0.8
    call_takes: float = 0.0
    clock: list[float] = field(default_factory=lambda: [0.0])
    broken: str = ""
    lanes: int = 1
    lock: Lock = field(default_factory=Lock)

    def __call__(self, images: Pixels) -> Heads:
        with self.lock:  # lanes are threads
            self.clock[0] += self.call_takes + self.takes * len(images)
        return [np.tile(np.array([[self.sure, 1 - self.sure]], np.float32), (len(images), 1))]


@dataclass
class FakeWorkshop:
    """Has what it is given."""

    backends: list[Fake]
    copy: None = None

    def make(self, name: str, precision: str) -> Fake:
        found = next(one for one in self.backends if (one.name, one.precision) == (name, precision))
        if found.broken:
            raise ModelError(found.broken)
        return found


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Choose:
    """Chooses between TensorFlow, which takes 10 ms an image, and the backends that are given."""
    clock = [0.0]

    def choose(*others: Fake, **wanted: Any) -> Choice:
        settings = Settings(**wanted)
        reference = Fake("tensorflow", "float32", 0.010)
        backends = [reference, *others]
        for one in backends:
            one.clock = clock
        asked = (settings.model_backend, settings.model_precision)
        open_ = [one for one in backends if asked[0] in {"auto", one.name} and asked[1] in {"auto", one.precision}]
        monkeypatch.setattr(selection, "_ways", lambda *_: ([(one.name, one.precision) for one in open_], []))
        probes = Probes.asked(reference, probe_images(SIZE))
        return select(FakeWorkshop(backends), probes, settings, lambda: clock[0])  # type: ignore[arg-type] # a workshop that is none

    return choose


def named(choice: Choice) -> tuple[str, str]:
    return choice.backend.name, choice.backend.precision


def test_the_fastest_that_agrees_is_taken_and_every_candidate_is_told(choose: Choose) -> None:
    choice = choose(Fake("openvino", "float32", 0.008), Fake("openvino", "bfloat16", 0.004, sure=0.79))
    assert named(choice) == ("openvino", "bfloat16")
    assert list(choice.told()) == [
        "candidate tensorflow float32: 100 images/s, labels equal 8 of 8, largest difference 0.0000: slower",
        "candidate openvino float32: 125 images/s, labels equal 8 of 8, largest difference 0.0000: slower",
        "candidate openvino bfloat16: 250 images/s, labels equal 8 of 8, largest difference 0.0100: chosen",
        "openvino bfloat16, images/s by batch size: 1: 250, 2: 250, 4: 250, 8: 250, 16: 250",
    ]


def test_a_slower_one_is_not_taken(choose: Choose) -> None:
    assert named(choose(Fake("openvino", "float32", 0.02))) == ("tensorflow", "float32")


@pytest.mark.parametrize(("takes", "taken"), [(0.0094, "float32"), (0.0088, "bfloat16")])
def test_what_is_less_precise_has_to_be_clearly_faster(choose: Choose, takes: float, taken: str) -> None:
    choice = choose(Fake("openvino", "bfloat16", takes))
    assert named(choice)[1] == taken
    verdicts = dict(zip(("float32", "bfloat16"), map(choice.verdict, choice.trials), strict=True))
    assert verdicts.pop(taken) == ("chosen", "")
    less_precise = ("agrees", "not clearly faster than float32, and less precise")
    assert verdicts == ({"bfloat16": less_precise} if taken == "float32" else {"float32": ("agrees", "slower")})


@pytest.mark.parametrize(("takes", "taken"), [(0.0099, "openvino"), (0.0105, "openvino"), (0.0115, "tensorflow")])
def test_of_two_equally_precise_ones_openvino_is_taken_unless_it_is_clearly_slower(
    choose: Choose, takes: float, taken: str
) -> None:
    choice = choose(Fake("openvino", "float32", takes))
    assert named(choice) == (taken, "float32")
    if takes > 0.01 and taken == "openvino":
        told = "not clearly faster than openvino, with which starts are quicker"
        assert choice.verdict(choice.trials[0]) == ("agrees", told)


def test_who_is_asked_for_single_images_is_timed_with_single_images(choose: Choose) -> None:
    good_in_batches = Fake("openvino", "bfloat16", 0.001, call_takes=0.02)
    assert named(choose(good_in_batches)) == ("openvino", "bfloat16")
    assert named(choose(good_in_batches, batch_max_size=1)) == ("tensorflow", "float32")


def test_a_faster_one_whose_probabilities_are_off_is_not_taken(choose: Choose) -> None:
    choice = choose(Fake("openvino", "float32", 0.008), Fake("openvino", "bfloat16", 0.002, sure=0.775))
    assert named(choice) == ("openvino", "float32")
    assert choice.verdict(choice.trials[2]) == (
        "refused",
        "a probability differs by 0.0250 from TensorFlow's in float32, 0.02 may",
    )
    assert choice.trials[2].images_per_s == pytest.approx(500)  # what it would have brought


def test_a_faster_one_with_another_label_is_not_taken(choose: Choose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "MAX_DIFFERENCE", 1.0)
    choice = choose(Fake("openvino", "bfloat16", 0.001, sure=0.45))
    assert named(choice) == ("tensorflow", "float32")
    assert choice.verdict(choice.trials[1]) == (
        "refused",
        "8 of 8 most probable labels differ from those of TensorFlow in float32",
    )


def test_a_faster_one_without_an_answer_is_not_taken(choose: Choose) -> None:
    choice = choose(Fake("openvino", "bfloat16", 0.001, sure=float("nan")))
    assert named(choice) == ("tensorflow", "float32")
    assert choice.verdict(choice.trials[1]) == ("not possible", "a probability is not finite")


def test_one_that_is_asked_for_by_name_must_agree_too(choose: Choose) -> None:
    with pytest.raises(ModelError, match=r"MODEL_PRECISION=bfloat16 does not agree .* 0\.0500\): set both to auto"):
        choose(Fake("openvino", "bfloat16", 0.001, sure=0.75), model_precision="bfloat16")


def test_one_that_is_asked_for_by_name_may_be_slower(choose: Choose) -> None:
    slow = Fake("openvino", "float32", 0.9)
    choice = choose(slow, model_backend="openvino", model_precision="float32")
    assert choice.backend is slow
    assert choice.taken.seconds == pytest.approx(0.9)  # the speed is told where there is nothing to choose, too
    assert choose(slow, model_backend="tensorflow").backend.name == "tensorflow"


def test_one_that_cannot_be_made_is_told_and_the_others_answer(
    choose: Choose, caplog: pytest.LogCaptureFixture
) -> None:
    broken = "OpenVINO cannot convert the model"
    one, other = (Fake("openvino", precision, 0.001, broken=broken) for precision in ("float32", "bfloat16"))
    choice = choose(one, other)
    assert named(choice) == ("tensorflow", "float32")
    assert [choice.verdict(trial) for trial in choice.trials] == [("chosen", ""), *[("not possible", broken)] * 2]
    assert caplog.messages == [f"without openvino float32 and openvino bfloat16: {broken}"]
    with pytest.raises(ModelError, match=broken):
        choose(one, other, model_backend="openvino")


@pytest.mark.parametrize(
    ("takes", "call_takes", "size"),
    [
        (0.001, 0.010, 16),  # the larger, the cheaper
        (0.010, 0.000, 8),  # all the same: 16 would take 0.16 s
        (0.200, 0.000, 1),  # all the same, and even one takes long
        (0.050, 0.100, 16),  # a small one takes long too, and costs more
    ],
)
def test_the_largest_batch_that_is_cheap_and_takes_no_longer_than_a_tenth_of_a_second(
    choose: Choose, takes: float, call_takes: float, size: int
) -> None:
    fake = Fake("openvino", "float32", takes, call_takes=call_takes)
    choice = choose(fake, model_backend="openvino")
    assert choice.max_batch == size
    assert choose(fake, model_backend="openvino", batch_max_size=5).max_batch == 5


def test_a_call_takes_as_long_as_all_lanes_do(choose: Choose) -> None:
    """The clock of two lanes goes on by what both take, as that of two cores does where a call in one takes twice."""
    choice = choose(Fake("openvino", "float32", 0.010, lanes=2), model_backend="openvino")
    assert choice.max_batch == 4
    assert choice.taken.images_per_s == pytest.approx(100)


@pytest.mark.parametrize(
    ("takes", "call_takes", "sizes"),
    [
        (0.001, 0.000, [1, 2, 4, 8, 16]),
        (0.400, 0.000, [1, 2]),  # two images take longer than would be waited for, and save nothing
        (0.400, 0.400, [1, 2, 4, 8, 16]),  # each saves something, however long it takes
    ],
)
def test_batches_that_would_not_be_taken_are_not_measured_either(
    choose: Choose, takes: float, call_takes: float, sizes: list[int]
) -> None:
    choice = choose(Fake("openvino", "float32", takes, call_takes=call_takes), model_backend="openvino")
    assert list(choice.batches) == sizes


def test_probe_images_are_the_same_in_every_process_and_unlike_each_other() -> None:
    images = probe_images(SIZE)
    assert (images.shape, str(images.dtype)) == ((8, 32, 24, 3), "uint8")
    assert np.array_equal(images, probe_images(SIZE))
    assert len({one.tobytes() for one in images}) == 8


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"model_precision": "int8"}, "needs an int8 copy .* image-tools quantize, or set it to auto"),
        ({"model_backend": "openvino"}, r"pip install 'image-consumer\[openvino\]'"),
        ({"model_backend": "tensorflow", "model_precision": "int8"}, "set MODEL_BACKEND to openvino or auto"),
    ],
)
def test_what_cannot_be_had_is_told_with_what_to_do(
    wanted: dict[str, str], told: str, choose: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    with pytest.raises(ModelError, match=told):
        choose(**wanted)


@pytest.fixture
def reference(directory: Path) -> TensorFlowBackend:
    return TensorFlowBackend(load_graph(ModelConfig.read(directory)), SIZE)


@pytest.fixture
def probes(reference: TensorFlowBackend) -> Probes:
    return Probes.asked(reference, probe_images(SIZE))


def test_without_openvino_tensorflow_answers(
    reference: TensorFlowBackend, probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    choice = select(Workshop(reference, None), probes, Settings())
    assert {trial.backend for trial in choice.trials if trial.difference is not None} == {"tensorflow"}
    left_out = [(trial.precision, trial.problem) for trial in choice.trials if trial.backend == "openvino"]
    why = "OpenVINO is not installed: pip install 'image-consumer[openvino]'"
    assert left_out == [("float32", why), ("bfloat16", why), ("int8", why)]


def cannot_freeze(self: TensorFlowBackend) -> Any:
    raise ValueError("a graph\nof 3 GiB")


def test_a_model_that_is_too_large_to_freeze_is_answered_by_tensorflow(
    reference: TensorFlowBackend, probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TensorFlowBackend, "frozen", cannot_freeze)
    assert select(Workshop(reference, None), probes, Settings()).backend is reference
    with pytest.raises(ModelError, match="OpenVINO cannot convert the model: its graph is larger than 2 GiB"):
        select(Workshop(reference, None), probes, Settings(model_backend="openvino"))


def test_a_processor_without_bfloat16_is_asked_for_float32_alone(
    reference: TensorFlowBackend, probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "precisions", lambda: ["float32"])
    monkeypatch.setattr(Processor, "computes_bfloat16", False)
    choice = select(Workshop(reference, None), probes, Settings())
    assert {trial.precision for trial in choice.trials if trial.difference is not None} == {"float32"}
    assert [(trial.backend, trial.precision, trial.problem) for trial in choice.trials if trial.problem] == [
        ("tensorflow", "bfloat16", "this processor has no instructions for it"),
        ("openvino", "bfloat16", "this processor has no instructions for it"),
        ("openvino", "int8", "there is no int8 copy of this model: image-tools quantize makes one"),
    ]
    with pytest.raises(ModelError, match="MODEL_PRECISION=bfloat16: this processor has only float32; set it to auto"):
        select(Workshop(reference, None), probes, Settings(model_backend="openvino", model_precision="bfloat16"))


@pytest.mark.parametrize(
    ("name", "precision", "close"),
    [
        ("tensorflow", "float32", 1e-4),
        ("tensorflow", "bfloat16", 0.02),
        ("openvino", "float32", 1e-4),
        ("openvino", "bfloat16", 0.02),
    ],
)
def test_every_backend_gives_what_the_reference_gives_for_every_number_of_images(
    reference: TensorFlowBackend, name: str, precision: str, close: float
) -> None:
    if precision == "bfloat16" and not Processor.here().computes_bfloat16:
        pytest.skip("this processor has no bfloat16")
    backend = Workshop(reference, None).make(name, precision)
    assert (backend.name, backend.precision) == (name, precision)
    for count in (1, 2, 3, 8):
        images = probe_images(SIZE, count)
        kept = backend(images)
        backend(255 - images)  # an answer is the caller's own: the next call does not write over it
        for one, other in zip(kept, reference(images), strict=True):
            assert (one.shape, str(one.dtype)) == (other.shape, "float32")
            assert np.abs(one - other).max() < close


def test_an_openvino_model_is_the_same_after_it_was_saved(reference: TensorFlowBackend, tmp_path: Path) -> None:
    converted = Workshop(reference, None).converted
    converted.save(tmp_path / "model.xml")
    again = Converted.read(tmp_path / "model.xml", converted.outputs).backend("float32")
    images = probe_images(SIZE)
    for one, other in zip(again(images), reference(images), strict=True):
        assert np.abs(one - other).max() < 1e-4
