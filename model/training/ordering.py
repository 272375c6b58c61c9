"""Does the model hear and see? Clips and pictures that differ in emotion alone.

RAVDESS (Livingstone & Russo, 2018) names its files by what is in them:
modality-channel-emotion-intensity-statement-repetition-actor. FER2013's pictures are named by us:
emotion-number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

_HAPPY = "03"
_STRONG = "02"

SAD_ANGRY = ("04", "05")
NEGATIVE = ("04", "05", "06", "07")
"""RAVDESS's codes of sad and angry; with fearful and disgust."""

NEGATIVE_FACES = ("angry", "sad", "fear", "disgust")


EMOTION_FIELDS = {"ravdess": 2, "fer2013": 0}
"""Which part of a corpus's names, between hyphens, tells the emotion."""


def emotions(corpus: str, ids: Sequence[str] | NDArray[np.str_]) -> NDArray[np.str_]:
    """(n,) the emotions that the names (n,) of a corpus of `EMOTION_FIELDS` tell."""
    return np.array([str(name).split("-")[EMOTION_FIELDS[corpus]] for name in ids], np.str_)


@dataclass(frozen=True, slots=True)
class OrderedPairs:
    """Of the pairs (strong happy, strong negative) with the same words, how many are ordered.

    Attributes:
        pairs: pairs of the same actor.
        share: of these, share in which the happy clip has the higher score, 0..1.
        pairs_across: pairs of any two actors, the same actor's included.
        share_across: likewise.
    """

    pairs: int
    share: float
    pairs_across: int
    share_across: float


def ordered_share(
    ids: Sequence[str] | NDArray[np.str_],
    scores: NDArray[np.floating],
    against: Sequence[str] = SAD_ANGRY,
) -> OrderedPairs:
    """Compare each strong happy clip with each strong negative clip of the same words.

    Args:
        ids: (n,) RAVDESS file names without ending.
        scores: (n,) the model's scores.
        against: RAVDESS's codes of the negative emotions.
    """
    happy, unhappy = [], []
    for name, score in zip(ids, scores, strict=True):
        _, _, emotion, intensity, statement, _, actor = str(name).split("-")
        if intensity == _STRONG and emotion == _HAPPY:
            happy.append((statement, actor, score))
        elif intensity == _STRONG and emotion in against:
            unhappy.append((statement, actor, score))
    across = [(h, u) for h, u in product(happy, unhappy) if h[0] == u[0]]
    same = [h[2] > u[2] for h, u in across if h[1] == u[1]]
    return OrderedPairs(
        pairs=len(same),
        share=float(np.mean(same)) if same else float("nan"),
        pairs_across=len(across),
        share_across=float(np.mean([h[2] > u[2] for h, u in across])) if across else float("nan"),
    )


def smiles_told_apart(
    ids: Sequence[str] | NDArray[np.str_], scores: NDArray[np.floating]
) -> tuple[int, float, float]:
    """Whether happy faces score above 0, and angry, sad, fearful and disgusted ones not.

    Args:
        ids: (n,) ``emotion-number``; other emotions are left out.
        scores: (n,) the model's scores.

    Returns:
        Pictures, share of them that are right, and the mean of both sides' shares; 0..1.
    """
    shown = emotions("fer2013", ids)
    happy, negative = shown == "happy", np.isin(shown, NEGATIVE_FACES)
    right = np.where(happy, scores > 0, scores <= 0)
    kept = happy | negative
    balanced = (right[happy].mean() + right[negative].mean()) / 2
    return int(kept.sum()), float(right[kept].mean()), float(balanced)
