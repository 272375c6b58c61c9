"""From the model's explanation and the worker's places to what an answer says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from preprocessing.schema import STEPS_PER_SECOND
from service import schemas
from service.reports import PlacesReport, TracksReport

if TYPE_CHECKING:
    from model.explanation import Explanation

MOMENT_SECONDS = 1
"""Length of a moment (s)."""

NOTE = (
    "What the model's own number owes to the parts of its input, by the model's arithmetic: "
    "Shapley's value for the modalities, integrated gradients of one step for words and moments. "
    "It is no statement about the person, no cause in the world, and no proof that the model is "
    "right."
)


def explanation_of(
    found: Explanation | None, places: PlacesReport | None
) -> schemas.Explanation | None:
    """The answer's explanation; None where none was asked for."""
    if found is None or places is None:
        return None
    # Imported late: the model's package is loaded in the background.
    from model.explanation import sum_spans

    spans = [(word.first_token, word.end_token) for word in places.words]
    return schemas.Explanation(
        baseline=found.baseline,
        without=schemas.Modalities.model_validate(found.without),
        shapley=schemas.Modalities.model_validate(found.shapley),
        transcript=places.transcript,
        words=[
            schemas.ExplainedWord(
                word=places.transcript[word.start : word.end],
                start=word.start,
                end=word.end,
                change=round(change, 4),
            )
            for word, change in zip(places.words, sum_spans(found.tokens, spans), strict=True)
        ],
        moments=[*_moments("audio", found, places), *_moments("video", found, places)],
        note=NOTE,
    )


def _moments(
    modality: Literal["audio", "video"], found: Explanation, places: PlacesReport
) -> list[schemas.ExplainedMoment]:
    from model.explanation import sum_windows

    shares, steps = (
        (found.audio, places.audio_steps)
        if modality == "audio"
        else (found.video, places.video_steps)
    )
    return [
        schemas.ExplainedMoment(
            modality=modality,
            start_seconds=window.first / STEPS_PER_SECOND,
            end_seconds=window.end / STEPS_PER_SECOND,
            change=round(window.change, 4),
        )
        for window in sum_windows(
            shares, np.array(steps, np.intp), MOMENT_SECONDS * STEPS_PER_SECOND
        )
    ]


def tracks_of(found: TracksReport | None) -> schemas.Tracks | None:
    """The answer's tracks; None where none were asked for."""
    if found is None:
        return None
    return schemas.Tracks.model_validate(
        {"steps_per_second": STEPS_PER_SECOND, **found.model_dump()}
    )
