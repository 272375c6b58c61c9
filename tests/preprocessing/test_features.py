"""The whole extraction: what is found, what is missing, and what is said about it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from examples.sample_clip import TRANSCRIPT, sample_clip, timed_portraits, voice, write_clip
from preprocessing.clip import (
    AudioFeatures,
    ClipFeatures,
    DecodeLimits,
    FaceFeatures,
    Frame,
    TextFeatures,
)
from preprocessing.decode import ClipReader
from preprocessing.errors import ClipTooLong, EmptyTranscript, InvalidOpenFaceCsv, UndecodableClip
from preprocessing.features import extract, faces_in, timed, timed_frames
from preprocessing.openface_columns import COLUMNS, INDEX
from preprocessing.openface_csv import write_header, write_rows
from preprocessing.schema import (
    AUDIO_COLUMNS,
    PICTURES_PER_SECOND,
    VIDEO_COLUMNS,
    feature_schema,
)
from preprocessing.tensors import to_sample

SCHEMA = feature_schema("0" * 64)


def codes(features: ClipFeatures) -> list[str]:
    return [caution.code for caution in features.cautions]


def test_a_talking_person_gives_everything_and_no_caution(talking_clip: bytes) -> None:
    features = extract(talking_clip, TRANSCRIPT)
    assert features.text is not None
    assert features.text.tokens == 15
    assert features.audio is not None
    assert features.audio.values.shape == (21, 35)
    assert features.audio.seconds == pytest.approx(2.0, abs=0.05)
    assert features.face is not None
    assert (features.face.frames, features.face.frames_with_face, features.face.faces) == (
        10,
        10,
        1,
    )
    assert features.face.source == "built-in"
    assert features.cautions == ()
    sample = to_sample(features, SCHEMA)
    assert sample.input_ids.shape == (15,)
    assert sample.audio.shape == (21, 35)
    # Ten pictures, each for two steps, the last for one.
    assert sample.video.shape == (19, len(VIDEO_COLUMNS))
    # She smiles: the lip corner puller is up throughout.
    assert (sample.video[:, VIDEO_COLUMNS.index("AU12_r")] > 1).all()


def test_time_is_counted_once_and_by_stage() -> None:
    timings = extract(sample_clip(8.0), TRANSCRIPT).timings_ms
    assert set(timings) == {"features", "decode", "text", "audio", "face"}
    assert all(spent > 0 for spent in timings.values())
    one_after_the_other = timings["text"] + timings["decode"] + timings["face"]
    assert one_after_the_other <= timings["features"]
    assert timings["audio"] <= timings["features"]
    assert timings["decode"] > 1


def test_faces_are_charged_with_the_time_that_they_take() -> None:
    # Decoded beforehand: beside a slow decoder hardly anything is left to wait for at the end.
    frames = list(ClipReader(sample_clip(8.0), DecodeLimits()).frames(PICTURES_PER_SECOND))
    timings = {"decode": 0.0, "face": 0.0}
    assert len(faces_in(iter(frames), timings)) == 40
    assert timings["face"] > 10
    assert timings["face"] > timings["decode"]


def test_a_stage_is_not_charged_with_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        "preprocessing.features.time", SimpleNamespace(perf_counter=lambda: clock.now)
    )

    def frames() -> Iterator[Frame]:
        for index in range(3):
            clock.now += 0.020
            yield Frame(np.zeros((2, 2, 3), np.uint8), seconds=index / 5, index=index)
        clock.now += 0.001

    timings = {"decode": 0.0, "face": 0.0}
    with timed(timings, "face"):
        for _ in timed_frames(frames(), timings):
            clock.now += 0.005
    assert timings == pytest.approx({"decode": 3 * 20 + 1, "face": 3 * 5})


def test_two_extractions_agree(talking_clip: bytes) -> None:
    one, other = (to_sample(extract(talking_clip, TRANSCRIPT), SCHEMA) for _ in range(2))
    np.testing.assert_array_equal(one.input_ids, other.input_ids)
    np.testing.assert_array_equal(one.audio, other.audio)
    np.testing.assert_array_equal(one.video, other.video)


def test_what_is_missing_is_absent_and_said() -> None:
    pictures = list(timed_portraits(index / 25 for index in range(5)))
    blank = [(when, np.full((96, 128, 3), 90, np.uint8)) for when, _ in pictures]
    assert codes(extract(write_clip((), voice(1.0)), "words")) == ["no_video"]
    assert codes(extract(write_clip(pictures), "words")) == ["no_audio"]
    assert codes(extract(write_clip(pictures, voice(0.2)), "words")) == ["short_audio"]
    silent = extract(write_clip(blank, np.zeros(44_100, np.float32)), "words")
    assert codes(silent) == ["silent_audio", "no_face"]
    sample = to_sample(silent, SCHEMA)
    assert (sample.audio.shape, sample.video.shape) == ((0, 35), (0, 119))
    assert codes(extract(write_clip(pictures[:2] + blank[2:], voice(1.0)), "words")) == []


def test_words_alone_and_a_clip_without_words() -> None:
    words = extract(None, "so good")
    assert (words.audio, words.face) == (None, None)
    assert codes(words) == ["no_audio", "no_video"]
    clip = extract(write_clip((), voice(1.0)), None)
    assert clip.text is None
    assert to_sample(clip, SCHEMA).input_ids.shape == (0,)


def test_an_openface_file_of_another_clip_is_refused(talking_clip: bytes) -> None:
    built_in = extract(talking_clip, "words").face
    assert built_in is not None
    for factor in (0.1, 3.0):
        values = built_in.values.copy()
        values[:, INDEX["timestamp"]] *= factor
        table = io.StringIO()
        write_header(table)
        write_rows(values, table)
        with pytest.raises(InvalidOpenFaceCsv, match="of another clip"):
            extract(talking_clip, "words", openface_csv=table.getvalue().encode())


def test_an_openface_file_takes_the_place_of_the_pictures(talking_clip: bytes) -> None:
    built_in = extract(talking_clip, "words")
    assert built_in.face is not None
    table = io.StringIO()
    write_header(table)
    write_rows(built_in.face.values, table)
    csv = table.getvalue().encode()
    features = extract(talking_clip, "words", openface_csv=csv)
    assert features.face is not None
    assert features.face.source == "openface_csv"
    own, given = (to_sample(one, SCHEMA).video for one in (built_in, features))
    # OpenFace writes intensities with two decimals, landmarks with one.
    np.testing.assert_allclose(given[:, :17], own[:, :17], atol=0.006)
    np.testing.assert_allclose(given[:, 17:], own[:, 17:], atol=0.1)
    sound_alone = extract(write_clip((), voice(1.0)), "words", openface_csv=csv)
    assert codes(sound_alone) == []
    with pytest.raises(InvalidOpenFaceCsv):
        extract(talking_clip, "words", openface_csv=b"a,b\n1,2\n")


def test_long_text_is_cut_and_said() -> None:
    features = extract(None, "good " * 300)
    assert "text_truncated" in codes(features)
    assert features.text is not None
    assert len(features.text.input_ids) == 256


def test_a_damaged_clip_is_used_and_said() -> None:
    clip = write_clip((), voice(6.0), container="matroska")
    features = extract(clip[: len(clip) // 2], "words")
    assert "clip_damaged" in codes(features)
    assert features.audio is not None
    assert 2 < features.audio.seconds < 4


def test_a_clip_of_which_nothing_decodes_is_refused() -> None:
    clip = write_clip((), voice(1.0), container="wav", audio_codec="pcm_s16le")
    with pytest.raises(UndecodableClip, match=r"pcm_s16le audio"):
        extract(clip[: clip.index(b"data") + 8], "words")


def test_refusals_pass_through(talking_clip: bytes) -> None:
    with pytest.raises(EmptyTranscript):
        extract(talking_clip, " ... ")
    with pytest.raises(ClipTooLong):
        extract(talking_clip, "words", limits=DecodeLimits(seconds=1.0))


def test_columns_are_picked_by_name_and_rows_without_a_face_or_a_voice_left_out() -> None:
    rows = np.full((3, len(COLUMNS)), np.nan, np.float32)
    rows[:, INDEX["timestamp"]] = [0.0, 0.1, 0.2]
    rows[:, INDEX["success"]] = [1, 0, 1]
    rows[:, INDEX["AU12_r"]] = [0.5, 9.0, 1.5]
    rows[:, INDEX["AU04_r"]] = [2.5, 9.0, 3.5]
    sound = np.arange(105, dtype=np.float32).reshape(3, 35)
    sound[1, AUDIO_COLUMNS.index("rms_db")] = -31.0
    features = ClipFeatures(
        TextFeatures(np.array([101, 7592, 102]), 3, truncated=False),
        AudioFeatures(sound, 0.2, -20.0, silent=False),
        FaceFeatures(rows, 3, 2, 1, "built-in"),
    )
    schema = replace(
        SCHEMA, audio_columns=("rms_db", "mfcc_0"), video_columns=("AU12_r", "AU04_r", "AU01_r")
    )
    sample = to_sample(features, schema)
    np.testing.assert_array_equal(sample.audio, [[34, 1], [104, 71]])
    np.testing.assert_array_equal(sample.video, [[0.5, 2.5, np.nan], [1.5, 3.5, np.nan]])
    with pytest.raises(KeyError, match="loudness"):
        to_sample(features, replace(SCHEMA, audio_columns=("loudness",)))


REAL: dict[str, tuple[list[str], bool, bool]] = {
    "mosi_Oz06ZWiO20M_6_h264_480x360.mp4": ([], True, True),
    "mosi_03bSnISJMiM_1.wav": (["no_video"], True, False),
    "grid_bbaf2n.mpg": ([], True, True),
    "grid_swiz3n.mpg": ([], True, True),
    "grid_bbaf2n_vp9_opus.webm": ([], True, True),
    "hdtf_katiehill_8s_mpeg4.mp4": ([], True, True),
    "vretalk_face1_700px_vfr.mp4": ([], True, True),
    "lp_d12_expressive_loud.mp4": ([], True, True),
    "lp_d3_silent_audio_track.mp4": (["silent_audio"], False, True),
    "pyfeat_face_then_noface_hevc.mov": (["few_faces"], True, True),
    "pyfeat_no_face.mp4": (["no_face"], True, False),
    "two_faces_side_by_side.mp4": (["several_faces"], True, True),
    "grid_brbk7n_noaudio.mp4": (["no_audio"], False, True),
    "grid_pwij3p_audio_only.m4a": (["no_video"], True, False),
    "moviepy_no_duration_vp9_opus.webm": (["silent_audio", "no_face"], False, False),
    "moviepy_rotation180_noface.mp4": (["no_face"], True, False),
    "moviepy_1x1px.mp4": (["no_audio", "no_face"], False, False),
}
"""Cautions, and whether rows of a voice and of a face reach the model."""


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_clips(real_clips: Path, name: str) -> None:
    cautions, heard, seen = REAL[name]
    features = extract((real_clips / name).read_bytes(), "bin blue at f two now")
    assert codes(features) == cautions
    sample = to_sample(features, SCHEMA)
    assert (len(sample.audio) > 0, len(sample.video) > 0) == (heard, seen)
    assert np.isfinite(np.delete(sample.audio, AUDIO_COLUMNS.index("log_f0"), axis=1)).all()
    assert np.isfinite(sample.video).all()


def test_the_same_sentence_in_two_formats_sounds_the_same(real_clips: Path) -> None:
    one, other = (
        extract((real_clips / name).read_bytes(), None).audio
        for name in ("grid_bbaf2n.mpg", "grid_bbaf2n_vp9_opus.webm")
    )
    assert one is not None
    assert other is not None
    pitch = [np.nanmedian(audio.values[:, -2]) for audio in (one, other)]
    assert pitch[0] == pytest.approx(pitch[1], abs=0.02)
