"""From a clip and its transcript to `ClipFeatures`: the one call that the service makes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Caution:
    """Something a reader of the score should know: a stable code and a sentence.

    Codes: ``no_video``, ``no_face``, ``few_faces`` (a face in under half of the frames),
    ``several_faces``, ``no_audio``, ``silent_audio``, ``short_audio``, ``text_truncated``,
    ``clip_damaged`` (decoding stopped early or skipped packets).
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """WordPiece ids of the transcript.

    Attributes:
        input_ids: (kept tokens,) int64 with [CLS] and [SEP].
        tokens: tokens of the whole transcript, [CLS] and [SEP] included.
        truncated: whether `tokens` was more than the schema's `max_tokens`.
    """

    input_ids: NDArray[np.int64]
    tokens: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class AudioFeatures:
    """Acoustic rows at the schema's rate.

    Attributes:
        values: (steps, 35) float32, columns `preprocessing.schema.AUDIO_COLUMNS`; NaN where a
            column has no value (log F0 of an unvoiced step).
        seconds: duration of the sound (s).
        level_dbfs: loudness of the sound as it came, before level normalisation (dB re full scale).
        silent: whether it holds nothing above the silence floor.
    """

    values: NDArray[np.float32]
    seconds: float
    level_dbfs: float
    silent: bool


@dataclass(frozen=True, slots=True)
class FaceFeatures:
    """Facial rows at the schema's rate.

    Attributes:
        values: (analysed frames, 714) float32 in OpenFace 2.x's column order and units,
            `preprocessing.openface_columns.COLUMNS`; NaN = not estimated; `success` says
            whether the row has a face.
        frames: pictures analysed.
        frames_with_face: of these, pictures in which a face was found.
        faces: largest number of faces seen in one picture.
        source: ``"built-in"`` or ``"openface_csv"``.
    """

    values: NDArray[np.float32]
    frames: int
    frames_with_face: int
    faces: int
    source: str


@dataclass(frozen=True, slots=True)
class ClipFeatures:
    """Everything measured on one clip; a modality that is not there is None.

    Attributes:
        text: the transcript's tokens; None only in training data without words.
        audio: None where the clip has no sound, or only digital silence.
        face: None where the clip has no video stream.
        cautions: what the answer must warn of.
        timings_ms: wall time by stage: ``decode``, ``text``, ``audio``, ``face``.
    """

    text: TextFeatures | None
    audio: AudioFeatures | None
    face: FaceFeatures | None
    cautions: tuple[Caution, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
