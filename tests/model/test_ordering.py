"""The share of emotion pairs that are ordered, on hand-made RAVDESS names."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model.training.ordering import NEGATIVE, ordered_share, smiles_told_apart

# modality-channel-emotion-intensity-statement-repetition-actor; 03 happy, 04 sad, 05 angry
HAPPY_1 = "01-01-03-02-01-01-01"
SAD_1 = "01-01-04-02-01-01-01"
ANGRY_1 = "01-01-05-02-01-01-01"
SAD_2 = "01-01-04-02-01-01-02"


def _share(scores: dict[str, float]) -> tuple[float, ...]:
    pairs = ordered_share(list(scores), np.array(list(scores.values()), np.float32))
    return pairs.pairs, pairs.share, pairs.pairs_across, pairs.share_across


def test_each_happy_clip_meets_each_angry_and_sad_clip_of_its_words() -> None:
    scores = {HAPPY_1: 1.0, SAD_1: 0.5, ANGRY_1: 2.0, SAD_2: -1.0}
    # Of the same actor: above sad, below angry. Across actors also above the other's sad.
    assert _share(scores) == pytest.approx((2, 1 / 2, 3, 2 / 3))


def test_a_tie_is_not_ordered() -> None:
    assert _share({HAPPY_1: 1.0, SAD_1: 1.0}) == (1, 0.0, 1, 0.0)


@pytest.mark.parametrize(
    "other",
    [
        "01-01-04-01-01-01-01",  # not strong
        "01-01-04-02-02-01-01",  # other words
        "01-01-06-02-01-01-01",  # fearful
        "01-01-02-02-01-01-01",  # calm
    ],
)
def test_other_clips_make_no_pair(other: str) -> None:
    assert _share({HAPPY_1: 1.0, SAD_1: 0.0, other: 5.0}) == (1, 1.0, 1, 1.0)


def test_a_weak_happy_clip_makes_no_pair() -> None:
    assert _share({"01-01-03-01-01-01-01": 1.0, HAPPY_1: 1.0, SAD_1: 2.0})[0] == 1


def test_repetitions_each_count() -> None:
    scores = {HAPPY_1: 1.0, "01-01-03-02-01-02-01": -1.0, SAD_1: 0.0, "01-01-04-02-01-02-01": 0.5}
    assert _share(scores) == (4, 0.5, 4, 0.5)


def test_without_pairs_the_share_is_not_a_number() -> None:
    pairs, share, across, share_across = _share({HAPPY_1: 1.0})
    assert (pairs, across) == (0, 0)
    assert math.isnan(share)
    assert math.isnan(share_across)


def test_fearful_and_disgusted_clips_count_where_they_are_asked_for() -> None:
    scores = {HAPPY_1: 1.0, "01-01-06-02-01-01-01": 2.0, "01-01-07-02-01-01-01": 0.0, SAD_1: 0.0}
    pairs = ordered_share(list(scores), np.array(list(scores.values()), np.float32), NEGATIVE)
    assert pairs.pairs == 3
    assert pairs.share == pytest.approx(2 / 3)


def test_smiles_are_those_that_score_above_0() -> None:
    scores = {"happy-1": 0.5, "happy-2": -1.0, "sad-1": -0.5, "fear-2": 0.1, "angry-3": 0.0}
    scores |= {"neutral-1": 3.0, "surprise-1": 3.0, "disgust-9": -3.0}
    pictures, share, balanced = smiles_told_apart(
        list(scores), np.array(list(scores.values()), np.float32)
    )
    # happy 1 of 2, the negative ones 3 of 4; neutral and surprised faces are left out.
    assert pictures == 6
    assert (share, balanced) == pytest.approx((4 / 6, 0.625))
