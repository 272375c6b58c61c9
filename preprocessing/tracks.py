"""What a reader of the clip can be shown beside it: step by step, a face and how loud it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocessing.clip import AudioFeatures, ClipFeatures, FaceFeatures
from preprocessing.openface_columns import INDEX, points
from preprocessing.schema import AUDIO_COLUMNS, MAX_STEPS
from preprocessing.tensors import shown_steps

INNER_LIPS = (62, 66)
"""Middle of the upper and of the lower inner lip (iBUG 300-W)."""


@dataclass(frozen=True, slots=True)
class Tracks:
    """A clip step by step, at `preprocessing.schema.STEPS_PER_SECOND`, at most `MAX_STEPS`.

    Attributes:
        face: whether the picture on the screen has a face; None without pictures.
        mouth_opening_mm: distance of the inner lips (mm), None where no face or no landmarks;
            None without pictures.
        sound_dbfs: mean level of the sound (dB re full scale), at least 60 dB below its speech;
            None without sound, or where it is silent.
    """

    face: tuple[bool, ...] | None
    mouth_opening_mm: tuple[float | None, ...] | None
    sound_dbfs: tuple[float, ...] | None


def tracks_of(features: ClipFeatures) -> Tracks:
    """The tracks of a clip."""
    face, mouth = _face(features.face)
    return Tracks(face, mouth, _sound(features.audio))


def _face(
    face: FaceFeatures | None,
) -> tuple[tuple[bool, ...] | None, tuple[float | None, ...] | None]:
    if face is None or not len(face.values):
        return None, None
    steps = shown_steps(face)
    # Between two analysed pictures of a slow clip the earlier one is on the screen.
    shown = np.searchsorted(steps, np.arange(min(steps[-1] + 1, MAX_STEPS)), side="right") - 1
    seen = face.values[:, INDEX["success"]] == 1
    upper, lower = (points(face.values, "", "XYZ")[:, lip] for lip in INNER_LIPS)
    opening = np.linalg.norm(upper.astype(np.float64) - lower, axis=1)
    opening[~seen] = np.nan
    return tuple(bool(x) for x in seen[shown]), _or_none(opening[shown])


def _or_none(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(x) else round(float(x), 1) for x in values)


def _sound(sound: AudioFeatures | None) -> tuple[float, ...] | None:
    if sound is None or sound.silent:
        return None
    # Rows are relative to the speech level.
    level = sound.values[:MAX_STEPS, AUDIO_COLUMNS.index("rms_db")] + sound.level_dbfs
    return tuple(round(float(x), 1) for x in level)
