"""The metrics against small numbers worked out by hand and against their plain definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.training.metrics import Metrics, measure

LABELS = np.array([-3.0, -1.0, 0.0, 0.4, 1.6, 2.5, 3.0])
PREDICTIONS = np.array([-3.5, 0.2, -0.1, 0.5, 1.4, 1.9, 3.9])


def test_hand_computed() -> None:
    found = measure(PREDICTIONS, LABELS)
    # |errors| .5 1.2 .1 .1 .2 .6 .9
    assert found.mae == pytest.approx(3.6 / 7)
    # Wrong: -1 -> +, 0 -> -. Negative: 1 right of 2 said, of 2 true; the other class 4 of 5, 5.
    assert found.acc2_with_zero == pytest.approx(5 / 7)
    assert found.f1_with_zero == pytest.approx((2 * 0.5 + 5 * 0.8) / 7)
    # Without 0: one error; negative 1 of 1 said, of 2 true (F1 2/3); positive 4 of 5, of 4 true.
    assert found.acc2_without_zero == pytest.approx(5 / 6)
    assert found.f1_without_zero == pytest.approx((2 * 2 / 3 + 4 * 8 / 9) / 6)
    # Seven classes: labels -3 -1 0 0 2 2 3, predictions -3 0 0 0 1 2 3.
    assert found.acc7 == pytest.approx(5 / 7)
    # Five: labels -2 -1 0 0 2 2 2, predictions -2 0 0 0 1 2 2.
    assert found.acc5 == pytest.approx(5 / 7)


def test_halves_are_rounded_to_even() -> None:
    labels = np.array([0.0, 2.0, 2.0, -2.0, 0.0])
    assert measure(np.array([0.5, 1.5, 2.5, -1.5, -0.5]), labels).acc7 == 1.0


def test_clipping_makes_extremes_of_five_classes_equal() -> None:
    found = measure(np.array([2.0, -7.0]), np.array([3.0, -2.4]))
    assert found.acc5 == 1.0
    assert found.acc7 == 0.0


def test_a_prediction_of_exactly_zero() -> None:
    found = measure(np.array([0.0, 0.0]), np.array([1.0, -1.0]))
    assert found.acc2_with_zero == 0.5  # non-negative is right for the first
    assert found.acc2_without_zero == 0.5  # not positive is right for the second


def test_correlation_by_hand() -> None:
    # Deviations (-1, 0, 1) and (-1, 1, 0): 1 / sqrt(2 * 2).
    assert measure(np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0, 1.0])).corr == pytest.approx(0.5)


def test_perfect_and_opposite() -> None:
    assert astuple(measure(LABELS, LABELS)) == pytest.approx((0.0, *[1.0] * 7))
    assert measure(-LABELS, LABELS).corr == pytest.approx(-1)


@pytest.mark.parametrize("constant", [0.0, 0.1, -3.0])
def test_correlation_with_a_constant_is_undefined(constant: float) -> None:
    found = measure(np.full(7, constant), LABELS)
    assert math.isnan(found.corr)
    assert not any(math.isnan(getattr(found, f.name)) for f in fields(Metrics) if f.name != "corr")
    assert math.isnan(measure(LABELS, np.full(7, constant)).corr)
    assert math.isnan(measure(np.array([1.0]), np.array([1.0])).corr)


def test_all_labels_zero_leave_nothing_without_zero() -> None:
    found = measure(np.array([1.0, -1.0, 0.0]), np.zeros(3))
    assert math.isnan(found.acc2_without_zero)
    assert math.isnan(found.f1_without_zero)
    assert found.acc2_with_zero == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("predictions", "labels", "said"),
    [
        ([1.0, 2.0], [1.0], r"\(2,\) and \(1,\)"),
        ([[1.0]], [[1.0]], r"\(1, 1\)"),
        ([], [], "no predictions"),
        ([1.0, math.nan], [1.0, 2.0], "prediction 1 is nan"),
        ([1.0], [math.inf], "label 0 is inf"),
        ([1.0, 1.0], [0.0, 3.5], r"label 1 is 3.5, outside \[-3, 3\]"),
    ],
)
def test_refused(predictions: list[float], labels: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        measure(np.array(predictions), np.array(labels))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[float], list[float]]:
    """Predictions and labels in tenths, so that halves and zeros are common."""
    size = draw(st.integers(1, 25))
    tenths = st.integers(-45, 45).map(lambda t: t / 10)
    labels = st.integers(-30, 30).map(lambda t: t / 10)
    return (
        draw(st.lists(tenths, min_size=size, max_size=size)),
        draw(st.lists(labels, min_size=size, max_size=size)),
    )


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_against_the_definitions(pair: tuple[list[float], list[float]]) -> None:
    predictions, labels = pair
    found = measure(np.array(predictions), np.array(labels))
    polar = [(p, y) for p, y in zip(predictions, labels, strict=True) if y != 0]
    with_zero = [(p >= 0, y >= 0) for p, y in zip(predictions, labels, strict=True)]
    without_zero = [(p > 0, y > 0) for p, y in polar]
    expected = Metrics(
        mae=sum(abs(p - y) for p, y in zip(predictions, labels, strict=True)) / len(labels),
        corr=plain_correlation(predictions, labels),
        acc2_with_zero=plain_accuracy(with_zero),
        f1_with_zero=plain_weighted_f1(with_zero),
        acc2_without_zero=plain_accuracy(without_zero),
        f1_without_zero=plain_weighted_f1(without_zero),
        acc5=plain_accuracy([(bin_of(p, 2), bin_of(y, 2)) for p, y in zip(*pair, strict=True)]),
        acc7=plain_accuracy([(bin_of(p, 3), bin_of(y, 3)) for p, y in zip(*pair, strict=True)]),
    )
    assert astuple(found) == pytest.approx(astuple(expected), nan_ok=True, abs=1e-9)


def bin_of(score: float, most: int) -> int:
    """Python's own round also takes halves to the even neighbour."""
    return round(min(max(score, -most), most))


def plain_accuracy(pairs: Sequence[tuple[object, object]]) -> float:
    return sum(p == y for p, y in pairs) / len(pairs) if pairs else math.nan


def plain_weighted_f1(pairs: Sequence[tuple[bool, bool]]) -> float:
    if not pairs:
        return math.nan
    total = 0.0
    for kind in (False, True):
        right = sum(p == y == kind for p, y in pairs)
        said = sum(p == kind for p, _ in pairs)
        true = sum(y == kind for _, y in pairs)
        total += true * (2 * right / (said + true) if said + true else 0.0)
    return total / len(pairs)


def plain_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    if len(set(a)) == 1 or len(set(b)) == 1:
        return math.nan
    mean_a, mean_b = math.fsum(a) / len(a), math.fsum(b) / len(b)
    cross = math.fsum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    square_a = math.fsum((x - mean_a) ** 2 for x in a)
    square_b = math.fsum((y - mean_b) ** 2 for y in b)
    return cross / math.sqrt(square_a * square_b)
