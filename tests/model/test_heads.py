"""Outputs in the order of the tasks, and heads that give probabilities for their labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.errors import ModelError
from consumer.model import ModelConfig
from consumer.model.heads import check_heads, in_order


def config(*tasks: str) -> ModelConfig:
    return ModelConfig("tiny", "1", Path("model.keras"), (24, 32), dict.fromkeys(tasks, ("a", "b")))


SHOP = config("sleeves", "print")


@pytest.mark.parametrize(
    "outputs",
    [
        ["S", "P"],
        ("S", "P"),
        {"print": "P", "sleeves": "S"},
        {"output_1": "P", "output_0": "S"},
    ],
)
def test_a_list_is_in_order_and_a_mapping_is_by_name(outputs: Any) -> None:
    assert in_order(outputs, SHOP) == ["S", "P"]


def test_made_up_names_are_ordered_by_their_number_past_nine_too() -> None:
    tasks = [f"task {number}" for number in range(12)]
    outputs = {f"output_{number}": number for number in sorted(range(12), key=str)}
    assert in_order(outputs, config(*tasks)) == list(range(12))


@pytest.mark.parametrize("output", ["S", ["S"], {"whatever": "S"}])
def test_a_single_output_is_the_single_tasks(output: Any) -> None:
    assert in_order(output, config("sleeves")) == ["S"]


def test_outputs_with_other_names_are_refused_rather_than_guessed() -> None:
    with pytest.raises(ModelError, match=r"names its outputs dense, dense_1, but .* tasks sleeves, print: name the"):
        in_order({"dense": "?", "dense_1": "?"}, SHOP)


def test_tasks_in_another_order_than_the_models_own_names_are_refused() -> None:
    with pytest.raises(ModelError, match=r"outputs are print, sleeves, in this order, but .* lists sleeves, print"):
        in_order(["P", "S"], SHOP, names=["print", "sleeves"])
    assert in_order(["S", "P"], SHOP, names=["dense", "dense_1"]) == ["S", "P"]


@pytest.mark.parametrize("outputs", ["S", ["S"], ["S", "P", "N"], {"sleeves": "S"}])
def test_another_number_of_outputs_than_tasks_is_told(outputs: Any) -> None:
    with pytest.raises(ModelError, match=r"has [13] outputs, but model.target_encoder names 2 tasks \(sleeves, print"):
        in_order(outputs, SHOP)


def heads(*rows: Sequence[float]) -> list[Any]:
    """Fit for the first task, and the given rows for the second."""
    return [np.full((len(rows), 2), 0.5, np.float32), np.array(rows, np.float32)]


def test_probabilities_that_add_up_to_one_pass() -> None:
    check_heads(SHOP, heads([1, 0], [0.3, 0.7005]))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([[0.5, 0.5], [0.5, 0.6]], "adding up to 1.1 instead of 1"),
        ([[2.0, -1.0]], "from -1 to 2"),
        ([[float("nan"), 1.0]], "nan"),
        ([[0.0, 0.0]], "adding up to 0 instead of 1"),
    ],
)
def test_anything_else_is_told_with_its_task_and_what_to_do(rows: list[list[float]], told: str) -> None:
    with pytest.raises(ModelError) as raised:
        check_heads(SHOP, heads(*rows))
    assert told in str(raised.value)
    assert "the head of task print" in str(raised.value)
    assert "should end in softmax" in str(raised.value)


def test_a_head_of_another_width_than_its_labels_is_told() -> None:
    with pytest.raises(
        ModelError, match=r"head of task print gives 3 values an image, but .* 2 labels for it \(a, b\)"
    ):
        check_heads(SHOP, heads([0.2, 0.3, 0.5]))


def test_a_head_that_is_no_row_of_values_is_told() -> None:
    with pytest.raises(ModelError, match=r"head of task print gives shape \(2, 2\) values"):
        check_heads(SHOP, [heads([0, 1])[0], np.zeros((1, 2, 2), np.float32)])
