"""The main road, over a real socket, through real workers and the real model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from model.predictor import Predictor
from preprocessing.features import default_tokenizer, extract
from preprocessing.schema import feature_schema
from preprocessing.tensors import to_sample
from service.schemas import PredictResponse
from tests.service.running import CHECKPOINT, ROOT, Service, check_problem

SHARED_CLIPS = Path(os.environ.get("DPDF_SHARED_CLIPS", ROOT.parent / "shared" / "clips"))

REAL_CLIPS: dict[str, tuple[str, set[str]]] = {
    "grid_bbaf2n.mpg": ("bin blue at f two now", set()),
    "grid_bbaf2n_vp9_opus.webm": ("bin blue at f two now", set()),
    "grid_brbk7n_noaudio.mp4": ("bin red by k seven now", {"no_audio"}),
    "grid_pwij3p_audio_only.m4a": ("place white in j three please", {"no_video"}),
    "grid_swiz3n.mpg": ("set white in z three now", set()),
    "hdtf_katiehill_8s_mpeg4.mp4": ("I am here today", set()),
    "lp_d12_expressive_loud.mp4": ("this is loud", set()),
    "lp_d3_silent_audio_track.mp4": ("nothing to hear", {"silent_audio"}),
    "mosi_03bSnISJMiM_1.wav": ("anyhow it was really good", {"no_video"}),
    "mosi_Oz06ZWiO20M_6_h264_480x360.mp4": (
        "and sucker punch is a failer but like a really ambitious weird the interesting "
        "idiosyncratic failure",
        set(),
    ),
    "moviepy_1x1px.mp4": ("one pixel", {"no_audio", "no_face"}),
    "moviepy_no_duration_vp9_opus.webm": ("a black picture", {"silent_audio", "no_face"}),
    "moviepy_rotation180_noface.mp4": ("turned around", {"no_face"}),
    "pyfeat_face_then_noface_hevc.mov": ("and gone", {"few_faces"}),
    "pyfeat_no_face.mp4": ("nobody here", {"no_face"}),
    "two_faces_side_by_side.mp4": ("bin blue at f two now", {"several_faces"}),
    "vretalk_face1_700px_vfr.mp4": ("hello there", set()),
}
"""Files of the project's own folder of clips, which is no part of the repository: transcript and
the warnings that the answer must carry."""


def check_answer(body: dict[str, Any]) -> PredictResponse:
    answer = PredictResponse.model_validate(body)
    assert answer.score == max(-3.0, min(3.0, answer.raw_score))
    assert answer.gate.global_ + answer.gate.local == pytest.approx(1, abs=1e-5)
    assert answer.interval is not None
    assert answer.interval.low <= answer.score <= answer.interval.high
    assert answer.interval.coverage == 0.9
    for gates in answer.query_channel_gates:
        assert gates.text + gates.audio + gates.video == pytest.approx(1, abs=1e-5)
    assert len(answer.model.checkpoint_sha256) == 64
    assert set(answer.timings_ms) == {
        *("upload", "queue", "features", "decode", "text", "audio", "face"),
        *("batch", "model", "total"),
    }
    assert min(answer.timings_ms.values()) >= 0
    return answer


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """The served weights in this process, without service, workers or sockets."""
    schema = feature_schema(default_tokenizer().sha256)
    return Predictor.load(CHECKPOINT, schema=schema, device="cpu")


def check_same(body: dict[str, Any], predictor: Predictor, clip: bytes | Path, words: str) -> None:
    """The answer is what feature extraction and the model give on their own."""
    (alone,) = predictor.predict([to_sample(extract(clip, words), predictor.schema)])
    assert body["raw_score"] == pytest.approx(alone.raw_score, abs=1e-4)
    assert body["gate"]["global"] == pytest.approx(alone.global_weight, abs=1e-4)
    for gates, layer in zip(body["query_channel_gates"], alone.layer_gates, strict=True):
        found = (gates["text"], gates["audio"], gates["video"])
        assert found == pytest.approx(layer, abs=1e-4)


@pytest.mark.parametrize("words", ["what a wonderful day", "what a terrible day", "it is a table"])
def test_an_answer_is_that_of_the_features_and_the_model_without_the_service(
    service: Service, clip: bytes, predictor: Predictor, words: str
) -> None:
    check_same(service.predict(clip, words).json(), predictor, clip, words)


def test_the_sample_clip_gets_a_full_answer(service: Service, clip: bytes) -> None:
    response = service.predict(clip, "what a wonderful day")
    assert response.status_code == 200, response.text
    answer = check_answer(response.json())
    assert answer.request_id == response.headers["x-request-id"]
    assert answer.warnings == []
    assert answer.seen.text.present
    assert answer.seen.text.tokens == 6
    assert answer.seen.audio.present
    assert answer.seen.audio.seconds == pytest.approx(1.5, abs=0.1)
    assert answer.seen.video.present
    assert answer.seen.video.face_share == 1
    assert answer.seen.video.source == "built-in"


def test_the_same_clip_gets_the_same_score(service: Service, clip: bytes) -> None:
    first, second = (service.predict(clip).json()["raw_score"] for _ in range(2))
    assert first == pytest.approx(second, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("words.txt", "really good"),
        ("Words.VTT", "WEBVTT\n\n00:00.000 --> 00:01.000\nreally good\n"),
        ("words.srt", "1\n00:00:00,000 --> 00:00:01,000\nreally good\n"),
    ],
)
def test_a_transcript_file_means_the_same_as_its_words(
    service: Service, clip: bytes, name: str, content: str
) -> None:
    as_text = service.predict(clip, "really good").json()
    response = service.client.post(
        "/predict", files={"video": ("c.mp4", clip), "transcript": (name, content.encode())}
    )
    assert response.status_code == 200, response.text
    assert response.json()["raw_score"] == pytest.approx(as_text["raw_score"], abs=1e-5)


def test_a_long_transcript_is_cut_and_said_so(service: Service, clip: bytes) -> None:
    answer = check_answer(service.predict(clip, "good " * 400).json())
    assert answer.seen.text.tokens == 402
    assert answer.seen.text.truncated
    assert [warning.code for warning in answer.warnings] == ["text_truncated"]


@pytest.mark.parametrize("name", REAL_CLIPS)
def test_real_clips_get_a_score_with_the_fitting_warnings(
    service: Service, predictor: Predictor, name: str
) -> None:
    path = SHARED_CLIPS / name
    if not path.exists():
        pytest.skip("the folder of real clips is not here")
    transcript, warnings = REAL_CLIPS[name]
    response = service.predict(path.read_bytes(), transcript)
    assert response.status_code == 200, response.text
    answer = check_answer(response.json())
    check_same(response.json(), predictor, path, transcript)
    assert {warning.code for warning in answer.warnings} == warnings
    assert answer.seen.audio.present == (not warnings & {"no_audio", "silent_audio"})
    assert answer.seen.video.present == (not warnings & {"no_video", "no_face"})


def test_no_real_clip_is_forgotten() -> None:
    if not SHARED_CLIPS.is_dir():
        pytest.skip("the folder of real clips is not here")
    there = {path.name for path in SHARED_CLIPS.iterdir()} - {"README.md"}
    assert there == {*REAL_CLIPS, "moviepy_zero_bytes.webm"}


def test_what_cannot_be_decoded_is_a_precise_422(service: Service) -> None:
    empty = check_problem(service.predict(b""), 422, "undecodable_clip")
    assert empty["param"] == "video"
    assert "0 bytes" in empty["detail"]
    noise = check_problem(service.predict(bytes(range(256)) * 40), 422, "undecodable_clip")
    assert noise["param"] == "video"


@pytest.mark.parametrize(
    ("transcript", "code"),
    [("", "empty_transcript"), (" \n\t", "empty_transcript"), ("...", "empty_transcript")],
)
def test_a_transcript_without_words_is_refused(
    service: Service, clip: bytes, transcript: str, code: str
) -> None:
    assert check_problem(service.predict(clip, transcript), 422, code)["param"] == "transcript"


def test_an_openface_file_that_is_none_is_refused(service: Service, clip: bytes) -> None:
    response = service.predict(clip, openface=("f.csv", b"a,b\n1,2\n", "text/csv"))
    assert check_problem(response, 422, "invalid_openface_csv")["param"] == "openface"


def test_a_clip_over_the_limit_is_refused(tight: Service) -> None:
    from examples.sample_clip import sample_clip

    body = check_problem(tight.predict(sample_clip(seconds=5)), 422, "clip_too_long")
    assert body["param"] == "video"
