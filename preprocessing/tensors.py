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
    """Pick the (pictures with a face, video columns) of the schema.

    Pictures without a face are left out: they say nothing, and what is left keeps its order.
    """
    if face is None:
        return np.empty((0, len(schema.video_columns)), np.float32)
    seen = face.values[_pictures_with_face(face)]
    position = dict(INDEX) | {n: len(INDEX) + i for i, n in enumerate(SHAPE_COLUMNS)}
    rows: NDArray[np.float32] = np.hstack([seen, shape_rows(seen)])
    return rows[:, [position[name] for name in schema.video_columns]]


def face_steps(face: FaceFeatures | None) -> NDArray[np.intp]:
    """The steps of the clip, from 0, at which the pictures that `face_rows` picks are shown."""
    if face is None:
        return np.empty(0, np.intp)
    return shown_steps(face)[_pictures_with_face(face)]


def shown_steps(face: FaceFeatures) -> NDArray[np.intp]:
    """(pictures,) the step of the clip, from 0, at which each analysed picture is first shown."""
    seconds = face.values[:, INDEX["timestamp"]].astype(np.float64)
    ticks = (seconds - seconds[0] + TICK_TOLERANCE) * STEPS_PER_SECOND
    return np.asarray(np.floor(ticks), np.intp)


def _pictures_with_face(face: FaceFeatures) -> NDArray[np.intp]:
    return np.flatnonzero(face.values[:, INDEX["success"]] == 1)[:MAX_STEPS]
