"""The field's seven numbers for sentiment scores in [-3, 3].

They are computed as the published code of MulT (Tsai et al. 2019), MMSA (Mao et al. 2022) and ALMT
(Zhang et al. 2023) computes them, so that a result can stand beside theirs:

* MAE takes predictions as they come; nothing is clipped.
* The classes of Acc-5 and Acc-7 are scores clipped to [-2, 2] or [-3, 3] and rounded by numpy, that
  is half to even: 0.5 is class 0, 1.5 class 2.
* Acc-2 and F1 come in two conventions. *With zero*: negative against non-negative, on all
  clips. *Without zero*: clips whose label is exactly 0 are left out and the rest is positive if
  above 0, so that a prediction of exactly 0 counts as negative.
* F1 is the mean of both classes' F1, weighted by the labels' class sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score

MOST = 3.0
"""Largest magnitude of a label."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """How well n predictions agree with their labels.

    Attributes:
        mae: mean absolute error (scale points), 0 is best.
        corr: Pearson's correlation, -1..1; NaN where it is undefined: n = 1, or constant
            predictions or labels.
        acc2_with_zero: share of right signs, negative against non-negative.
        f1_with_zero: weighted F1 of the same.
        acc2_without_zero: share of right signs, negative against positive, on labels that are not
            0; NaN if all are 0.
        f1_without_zero: weighted F1 of the same; NaN if all labels are 0.
        acc5: share of right classes of five.
        acc7: share of right classes of seven.
    """

    mae: float
    corr: float
    acc2_with_zero: float
    f1_with_zero: float
    acc2_without_zero: float
    f1_without_zero: float
    acc5: float
    acc7: float


def measure(predictions: NDArray[np.floating], labels: NDArray[np.floating]) -> Metrics:
    """Compare predictions with labels.

    Args:
        predictions: (n,) scores, also beyond [-3, 3]; n is at least 1.
        labels: (n,) scores in [-3, 3].

    Returns:
        The metrics, computed in float64.

    Raises:
        ValueError: shapes differ, are not (n,) or are empty; a value is not finite; a label is
            outside [-3, 3], that is on another scale.

    Example:
        >>> measure(np.array([1.0, -2.0]), np.array([2.0, -2.0])).mae
        0.5
    """
    predicted, true = np.asarray(predictions, np.float64), np.asarray(labels, np.float64)
    _check(predicted, true)
    acc2_with_zero, f1_with_zero = _signs(predicted >= 0, true >= 0)
    polar = true != 0
    acc2_without_zero, f1_without_zero = _signs(predicted[polar] > 0, true[polar] > 0)
    return Metrics(
        mae=float(np.mean(np.abs(predicted - true))),
        corr=_correlation(predicted, true),
        acc2_with_zero=acc2_with_zero,
        f1_with_zero=f1_with_zero,
        acc2_without_zero=acc2_without_zero,
        f1_without_zero=f1_without_zero,
        acc5=_class_accuracy(predicted, true, 2),
        acc7=_class_accuracy(predicted, true, 3),
    )


def _check(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> None:
    if predicted.shape != true.shape or predicted.ndim != 1:
        raise ValueError(
            f"predictions and labels must both be (n,), not {predicted.shape} and {true.shape}"
        )
    if not len(true):
        raise ValueError("there are no predictions to measure")
    for name, values in (("prediction", predicted), ("label", true)):
        if not np.isfinite(values).all():
            index = int(np.argmin(np.isfinite(values)))
            raise ValueError(f"{name} {index} is {values[index]}, not a finite number")
    if np.abs(true).max() > MOST:
        index = int(np.argmax(np.abs(true)))
        raise ValueError(f"label {index} is {true[index]}, outside [-3, 3]")


def _signs(predicted: NDArray[np.bool_], true: NDArray[np.bool_]) -> tuple[float, float]:
    """Accuracy and weighted F1; NaN where there is nothing to compare."""
    if not len(true):
        return float("nan"), float("nan")
    return (
        float(accuracy_score(true, predicted)),
        float(f1_score(true, predicted, average="weighted")),
    )


def _class_accuracy(predicted: NDArray[np.float64], true: NDArray[np.float64], most: int) -> float:
    """Share of equal integer classes in [-most, most]."""
    classes = [np.round(np.clip(scores, -most, most)) for scores in (predicted, true)]
    return float(accuracy_score(*classes))


def _correlation(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    # Asked of the values, not of their deviation: that of many equal floats is not quite 0.
    if np.ptp(predicted) == 0 or np.ptp(true) == 0:
        return float("nan")
    return float(np.corrcoef(predicted, true)[0, 1])
