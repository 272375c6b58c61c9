"""What each modality, word and moment adds to a score: the shape of an explanation, and its sums.

`model.explainer` makes it. Modalities: the score of each of the 8 subsets of text, audio and video,
and from these Shapley's value (Shapley 1953; Lundberg & Lee 2017). Words and moments: integrated
gradients (Sundararajan et al. 2017) of tokens and rows, summed over their stretches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np
from numpy.typing import NDArray

from model.config import MODALITIES, Modality

Subset = frozenset[Modality]

SUBSETS: tuple[Subset, ...] = tuple(
    frozenset(chosen)
    for size in range(len(MODALITIES) + 1)
    for chosen in combinations(MODALITIES, size)
)
"""All 8 subsets of the modalities: first none of them, last all."""

ALL = SUBSETS[-1]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the parts of a clip add to its raw score, in units of the score.

    Attributes:
        baseline: the score without any modality.
        without: the score when that modality alone is taken away.
        shapley: Shapley's value of each modality; with `baseline` they sum to the raw score, and
            that of an absent modality is 0.
        tokens: (tokens,) integrated gradients of the text tokens; 0 for [CLS] and [SEP].
        audio: (steps,) integrated gradients of the sound rows.
        video: (steps,) integrated gradients of the face rows.
    """

    baseline: float
    without: dict[Modality, float]
    shapley: dict[Modality, float]
    tokens: NDArray[np.float32]
    audio: NDArray[np.float32]
    video: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """What a stretch of a clip adds to its score.

    Attributes:
        first: its first step.
        end: the step after its last.
        change: the sum over its rows.
    """

    first: int
    end: int
    change: float


def shapley_values(scores: Mapping[Subset, float]) -> dict[Modality, float]:
    """φ_m = Σ over S without m of |S|! (n - |S| - 1)! / n! · (v(S ∪ m) - v(S)), n = 3.

    Args:
        scores: v, the score of each of `SUBSETS`.

    Returns:
        A value for each modality; they sum to v(all) - v(none).
    """
    n = len(MODALITIES)
    return {
        name: sum(
            factorial(len(subset)) * factorial(n - len(subset) - 1) / factorial(n)
            * (scores[subset | {name}] - scores[subset])
            for subset in SUBSETS
            if name not in subset
        )
        for name in MODALITIES
    }  # fmt: skip


def sum_spans(shares: NDArray[np.float32], spans: Sequence[tuple[int, int]]) -> list[float]:
    """Token shares joined to word shares.

    Args:
        shares: (tokens,).
        spans: first token of each word, and the one after its last.
    """
    return [float(shares[first:end].sum()) for first, end in spans]


def sum_windows(
    shares: NDArray[np.float32], steps: NDArray[np.integer], width: int
) -> list[Window]:
    """Row shares joined to windows of equal width; windows without any row are left out.

    Args:
        shares: (rows,).
        steps: (rows,) the step of the clip that each row stands for, ascending.
        width: steps in a window.
    """
    return [
        Window(
            int(number * width),
            int(min((number + 1) * width, steps[-1] + 1)),
            float(shares[steps // width == number].sum()),
        )
        for number in np.unique(steps // width)
    ]
