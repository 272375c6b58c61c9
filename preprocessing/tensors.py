"""From `ClipFeatures` to the model's `Sample`: columns are picked by their names."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.inputs import FeatureSchema, Sample
from preprocessing.clip import AudioFeatures, ClipFeatures, FaceFeatures
from preprocessing.face_shape import shape_rows
from preprocessing.openface_columns import INDEX
from preprocessing.schema import (
    ACTIVE_DB,
    AUDIO_COLUMNS,
    MAX_STEPS,
    PICTURES_PER_SECOND,
    SHAPE_COLUMNS,
    STEPS_PER_SECOND,
)

TICK_TOLERANCE = 1e-5
"""How much earlier than its step a picture may be stamped: rows keep times in float32 (s)."""

_POSITION = {name: index for index, name in enumerate(AUDIO_COLUMNS)}


def to_sample(features: ClipFeatures, schema: FeatureSchema) -> Sample:
    """Arrange features as the model was trained on them.

    Absent means length 0: no words, no sound or a silent one, no video or no face in it. Rows
    beyond `MAX_STEPS` are left out: a clip just at the length limit has one or two.

    Args:
        features: of one clip.
        schema: the checkpoint's; its names choose and order the columns.

    Raises:
        KeyError: the schema names a column that is not extracted.
    """
    text = features.text
    return Sample(
        input_ids=np.empty(0, np.int64) if text is None else text.input_ids,
        audio=audio_rows(features.audio, schema),
        video=face_rows(features.face, schema),
    )


def audio_rows(sound: AudioFeatures | None, schema: FeatureSchema) -> NDArray[np.float32]:
    """Pick the (steps, audio columns) of the schema; no rows for silent or absent sound.

    Pauses are left out: a mood is in what is spoken, and how long a recording goes on before and
    after the words says nothing of it.
    """
    if sound is None or sound.silent:
        return np.empty((0, len(schema.audio_columns)), np.float32)
    rows: NDArray[np.float32] = sound.values[audio_steps(sound)]
    return rows[:, [_POSITION[name] for name in schema.audio_columns]]


def audio_steps(sound: AudioFeatures | None) -> NDArray[np.intp]:
    """The steps of a sound that `audio_rows` picks, from 0, in their order."""
    if sound is None or sound.silent:
        return np.empty(0, np.intp)
    return np.flatnonzero(sound.values[:, _POSITION["rms_db"]] >= -ACTIVE_DB)[:MAX_STEPS]


def face_rows(face: FaceFeatures | None, schema: FeatureSchema) -> NDArray[np.float32]:
    """Pick the (steps with a face, video columns) of the schema: of each step the picture shown.

    Pictures without a face are left out: they say nothing, and what is left keeps its order.
    """
    if face is None:
        return np.empty((0, len(schema.video_columns)), np.float32)
    pictures, _ = _steps_with_face(face)
    seen, of_step = np.unique(pictures, return_inverse=True)
    values = face.values[seen]
    position = dict(INDEX) | {n: len(INDEX) + i for i, n in enumerate(SHAPE_COLUMNS)}
    rows: NDArray[np.float32] = np.hstack([values, shape_rows(values)])
    return rows[:, [position[name] for name in schema.video_columns]][of_step]


def face_steps(face: FaceFeatures | None) -> NDArray[np.intp]:
    """The steps of the clip, from 0, of the rows that `face_rows` picks."""
    if face is None:
        return np.empty(0, np.intp)
    _, steps = _steps_with_face(face)
    return steps


def shown_steps(face: FaceFeatures) -> NDArray[np.intp]:
    """(pictures,) the step of the clip, from 0, at which each analysed picture is first shown."""
    seconds = face.values[:, INDEX["timestamp"]].astype(np.float64)
    ticks = (seconds - seconds[0] + TICK_TOLERANCE) * STEPS_PER_SECOND
    return np.asarray(np.floor(ticks), np.intp)


def _steps_with_face(face: FaceFeatures) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(rows,) pictures with a face and (rows,) the steps at which they are shown.

    A picture is shown until the next one, but for no longer than pictures are apart; the last one
    for a step: nobody knows when it ends.
    """
    if not len(face.values):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    first = shown_steps(face)
    held = np.clip(np.diff(first, append=first[-1] + 1), 1, STEPS_PER_SECOND // PICTURES_PER_SECOND)
    held[face.values[:, INDEX["success"]] != 1] = 0
    pictures = np.repeat(np.arange(len(first)), held)
    since = np.arange(len(pictures)) - np.repeat(np.cumsum(held) - held, held)
    return pictures[:MAX_STEPS], (first[pictures] + since)[:MAX_STEPS]
