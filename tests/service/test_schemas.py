from __future__ import annotations

import pytest

from service.schemas import LABELS, clip_score, label_of, polarity_of


@pytest.mark.parametrize(
    ("raw", "score", "label", "polarity"),
    [
        (-7.5, -3.0, "highly negative", "negative"),
        (-2.6, -2.6, "highly negative", "negative"),
        (-1.7, -1.7, "negative", "negative"),
        (-0.51, -0.51, "weakly negative", "negative"),
        (-0.5, -0.5, "neutral", "neutral"),
        (0.49, 0.49, "neutral", "neutral"),
        (0.6, 0.6, "weakly positive", "positive"),
        (1.5, 1.5, "positive", "positive"),
        (2.51, 2.51, "highly positive", "positive"),
        (3.2, 3.0, "highly positive", "positive"),
    ],
)
def test_scores_become_labels(raw: float, score: float, label: str, polarity: str) -> None:
    assert clip_score(raw) == score
    assert label_of(score) == label
    assert polarity_of(score) == polarity


def test_there_are_seven_labels() -> None:
    assert [label_of(float(score)) for score in range(-3, 4)] == list(LABELS)
