"""An explanation and tracks on request, over a real socket; and what a worker may say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model.inputs import Sample
from service.reports import PlacesReport
from service.schemas import EXPLANATION_EXAMPLE, Explanation, PredictResponse
from tests.service.running import Service, check_problem

WORDS = "What a wonderful day, isn't it?"


def asked(service: Service, clip: bytes, words: str = WORDS, **fields: str) -> PredictResponse:
    response = service.predict(clip, words, fields=fields)
    assert response.status_code == 200, response.text
    return PredictResponse.model_validate(response.json())


def test_without_being_asked_for_both_are_null(service: Service, clip: bytes) -> None:
    for fields in ({}, {"explain": "false", "tracks": "false"}):
        answer = asked(service, clip, **fields)
        assert answer.explanation is None
        assert answer.tracks is None


def test_an_explained_score_is_the_score_and_its_parts_sum_to_it(
    service: Service, clip: bytes
) -> None:
    answer = asked(service, clip, explain="true")
    plain = asked(service, clip)
    assert answer.raw_score == pytest.approx(plain.raw_score, abs=1e-4)
    assert answer.gate.global_ == pytest.approx(plain.gate.global_, abs=1e-4)
    assert answer.tracks is None
    found = answer.explanation
    assert found is not None
    values = found.shapley
    total = found.baseline + values.text + values.audio + values.video
    assert total == pytest.approx(answer.raw_score, abs=1e-5)
    assert found.transcript == WORDS
    assert [w.word for w in found.words] == WORDS.split()
    assert all(found.transcript[w.start : w.end] == w.word for w in found.words)
    # Taken as a whole, good words make it better.
    assert max(found.words, key=lambda w: w.change).word == "wonderful"
    spans = [(m.modality, m.start_seconds, m.end_seconds) for m in found.moments]
    assert spans[:2] == [("audio", 0.0, 1.0), ("audio", 1.0, 1.6)]
    assert spans[2:] == [("video", 0.0, 1.0), ("video", 1.0, 1.5)]
    assert "no proof" in found.note


def test_without_a_face_its_value_is_0_and_it_has_no_moments(service: Service) -> None:
    from examples.sample_clip import voice, write_clip

    answer = asked(service, write_clip((), voice(1.2)), explain="true", tracks="true")
    found = answer.explanation
    assert found is not None
    assert found.shapley.video == 0
    assert found.without.video == pytest.approx(answer.raw_score, abs=1e-6)
    assert {moment.modality for moment in found.moments} == {"audio"}
    assert answer.tracks is not None
    assert answer.tracks.face is None


def test_offsets_are_of_the_words_as_they_were_read(service: Service, clip: bytes) -> None:
    captions = b"WEBVTT\n\n00:00.000 --> 00:01.000\n<b>really</b>   good\n"
    response = service.client.post(
        "/predict",
        files={"video": ("c.mp4", clip), "transcript": ("w.vtt", captions)},
        data={"explain": "true"},
    )
    found = response.json()["explanation"]
    assert found["transcript"] == "really good"
    assert [(w["start"], w["end"]) for w in found["words"]] == [(0, 6), (7, 11)]


def test_a_long_transcript_is_explained_as_far_as_it_was_read(
    service: Service, clip: bytes
) -> None:
    found = asked(service, clip, "good " * 400, explain="true").explanation
    assert found is not None
    assert len(found.words) == 254


def test_tracks_follow_the_clip(service: Service, clip: bytes) -> None:
    answer = asked(service, clip, tracks="true")
    tracks = answer.tracks
    assert answer.explanation is None
    assert tracks is not None
    assert tracks.steps_per_second == 10
    assert tracks.face == [True] * 15
    assert tracks.mouth_opening_mm is not None
    assert all(opening is not None and 0 <= opening < 40 for opening in tracks.mouth_opening_mm)
    assert tracks.sound_dbfs is not None
    assert len(tracks.sound_dbfs) == 16
    assert answer.seen.audio.level_dbfs == pytest.approx(max(tracks.sound_dbfs), abs=6)


@pytest.mark.parametrize("value", ["", "yes", "True", "1"])
def test_other_values_are_refused(service: Service, clip: bytes, value: str) -> None:
    response = service.predict(clip, fields={"explain": value})
    assert check_problem(response, 422, "invalid_field")["param"] == "explain"


def test_the_example_is_an_explanation() -> None:
    Explanation.model_validate(EXPLANATION_EXAMPLE)


SAMPLE = Sample(
    np.zeros(4, np.int64), np.zeros((2, 35), np.float32), np.zeros((1, 119), np.float32)
)
PLACES: dict[str, Any] = {
    "transcript": "so good",
    "words": [
        {"start": 0, "end": 2, "first_token": 1, "end_token": 2},
        {"start": 3, "end": 7, "first_token": 2, "end_token": 3},
    ],
    "audio_steps": [0, 4],
    "video_steps": [0],
}


@pytest.mark.parametrize(
    "change",
    [
        {"audio_steps": [0]},
        {"audio_steps": [4, 0]},
        {"audio_steps": [-1, 0]},
        {"video_steps": []},
        {"transcript": "so"},
        {"words": [{"start": 3, "end": 3, "first_token": 1, "end_token": 2}]},
        {"words": [{"start": 3, "end": 7, "first_token": 1, "end_token": 4}]},
    ],
)
def test_places_that_cannot_be_are_told_from_those_that_can(change: dict[str, Any]) -> None:
    assert PlacesReport.model_validate(PLACES).fit(SAMPLE)
    assert not PlacesReport.model_validate(PLACES | change).fit(SAMPLE)
