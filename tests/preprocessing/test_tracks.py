"""Steps of rows, and what is drawn under a clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from preprocessing.clip import AudioFeatures, ClipFeatures, FaceFeatures
from preprocessing.openface_columns import INDEX, empty_rows
from preprocessing.schema import AUDIO_COLUMNS, feature_schema
from preprocessing.tensors import audio_steps, face_rows, face_steps
from preprocessing.tracks import Tracks, tracks_of

LEVEL = AUDIO_COLUMNS.index("rms_db")


def sound(*levels: float, silent: bool = False) -> AudioFeatures:
    values = np.zeros((len(levels), len(AUDIO_COLUMNS)), np.float32)
    values[:, LEVEL] = levels
    return AudioFeatures(values, seconds=len(levels) / 10, level_dbfs=-20.0, silent=silent)


def face(*pictures: tuple[float, float | None]) -> FaceFeatures:
    """Pictures: time (s), and how far the lips are apart (mm) where there is a face."""
    rows = empty_rows(len(pictures))
    for row, (seconds, opening) in zip(rows, pictures, strict=True):
        row[INDEX["timestamp"]] = seconds
        row[INDEX["success"]] = opening is not None
        if opening is not None:
            for axis in "XYZ":
                row[INDEX[f"{axis}_62"]] = row[INDEX[f"{axis}_66"]] = 5.0
            row[INDEX["Y_66"]] += opening
    seen = sum(opening is not None for _, opening in pictures)
    return FaceFeatures(rows, len(pictures), seen, faces=1, source="built-in")


def test_tracks_by_hand() -> None:
    # Four pictures a second: the one at 0.25 s is on the screen until that at 0.5 s comes.
    features = ClipFeatures(
        None, sound(0.0, -12.5, -60.0), face((0.0, 3.0), (0.25, None), (0.5, 7.25))
    )
    assert tracks_of(features) == Tracks(
        face=(True, True, False, False, False, True),
        mouth_opening_mm=(3.0, 3.0, None, None, None, 7.2),
        sound_dbfs=(-20.0, -32.5, -80.0),
    )


def test_what_is_not_there_has_no_track() -> None:
    assert tracks_of(ClipFeatures(None, None, None)) == Tracks(None, None, None)
    assert tracks_of(ClipFeatures(None, sound(silent=True), None)).sound_dbfs is None


def test_a_face_without_landmarks_has_no_mouth() -> None:
    found = face((0.0, 1.0))
    found.values[:, INDEX["Y_62"]] = np.nan
    assert tracks_of(ClipFeatures(None, None, found)).mouth_opening_mm == (None,)


def test_steps_of_rows_skip_pauses_and_pictures_without_a_face() -> None:
    assert audio_steps(sound(-40.0, 0.0, -31.0, -29.0)).tolist() == [1, 3]
    assert audio_steps(None).tolist() == audio_steps(sound(0.0, silent=True)).tolist() == []
    # 0.3 s in float32 is a little less than 0.3 s; an OpenFace file may begin late.
    found = face((0.0, None), (0.1, 1.0), (float(np.float32(0.3)), 2.0))
    assert face_steps(found).tolist() == [1, 2, 3]
    assert face_steps(face((7.0, 1.0), (7.2, 1.0))).tolist() == [0, 1, 2]
    assert face_steps(None).tolist() == face_steps(face()).tolist() == []


def test_a_picture_stands_for_every_step_at_which_it_is_shown() -> None:
    clip = face((0.0, 1.0), (0.2, 2.0), (0.3, 3.0), (0.5, None), (0.7, 4.0), (1.5, 5.0))
    clip.values[:, INDEX["AU12_r"]] = np.arange(6)
    schema = replace(feature_schema("0" * 64), video_columns=("AU12_r",))
    # Of a slow clip a picture counts for a fifth of a second, the last one for a step.
    assert face_rows(clip, schema)[:, 0].tolist() == [0, 0, 1, 2, 2, 4, 4, 5]
    assert face_steps(clip).tolist() == [0, 1, 2, 3, 4, 7, 8, 15]


@pytest.mark.parametrize("steps", [499, 700])
def test_no_more_steps_than_the_model_takes(steps: int) -> None:
    long = ClipFeatures(
        None, sound(*[0.0] * steps), face(*((step / 10, 1.0) for step in range(steps)))
    )
    tracks = tracks_of(long)
    assert tracks.face is not None
    assert tracks.sound_dbfs is not None
    assert len(tracks.face) == len(tracks.sound_dbfs) == min(steps, 500)
