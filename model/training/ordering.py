"""Does the model hear and see? Pairs of clips that differ in emotion alone.

RAVDESS (Livingstone & Russo, 2018) names its files by what is in them:
modality-channel-emotion-intensity-statement-repetition-actor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

_HAPPY = "03"
_SAD = "04"
_ANGRY = "05"
_STRONG = "02"


@dataclass(frozen=True, slots=True)
class OrderedPairs:
    """Of the pairs (strong happy, strong angry or sad) with the same words, how many are ordered.

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
    ids: Sequence[str] | NDArray[np.str_], scores: NDArray[np.float32]
) -> OrderedPairs:
    """Compare each strong happy clip with each strong angry or sad clip of the same words.

    Args:
        ids: (n,) RAVDESS file names without ending.
        scores: (n,) the model's scores.
    """
    happy, unhappy = [], []
    for name, score in zip(ids, scores, strict=True):
        _, _, emotion, intensity, statement, _, actor = str(name).split("-")
        if intensity == _STRONG and emotion == _HAPPY:
            happy.append((statement, actor, score))
        elif intensity == _STRONG and emotion in (_SAD, _ANGRY):
            unhappy.append((statement, actor, score))
    across = [(h, u) for h, u in product(happy, unhappy) if h[0] == u[0]]
    same = [h[2] > u[2] for h, u in across if h[1] == u[1]]
    return OrderedPairs(
        pairs=len(same),
        share=float(np.mean(same)) if same else float("nan"),
        pairs_across=len(across),
        share_across=float(np.mean([h[2] > u[2] for h, u in across])) if across else float("nan"),
    )
