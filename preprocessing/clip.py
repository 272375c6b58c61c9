"""The typed objects that pass between the steps of preprocessing: unit and rate travel along.

Decoding gives `Sound` and `Frame`, the analyses turn them into features, and `ClipFeatures` is what
leaves the package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ChosenBy = Literal["only", "speech", "size", "confidence"]
"""Why a face was taken: it is the only one, its mouth moves with the sound, it is the largest, or
it is the one that an OpenFace file is surest of."""

SOUND_RATE = 22_050
"""Sample rate of all sound after decoding (Hz)."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Decoded sound: (samples,) float32, mono, 22,050 Hz, full scale ±1."""

    samples: NDArray[np.float32]

    @property
    def seconds(self) -> float:
        """Duration (s)."""
        return len(self.samples) / SOUND_RATE


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture, rotated upright.

    Attributes:
        rgb: (height, width, 3) uint8.
        seconds: presentation time since the first picture of the stream (s).
        index: number of the decoded frame in the stream, from 0.
        scale: pixels of the original picture per pixel of `rgb`: 1, or more where a large picture
            was made smaller. Multiply pixel coordinates by it.
    """

    rgb: NDArray[np.uint8]
    seconds: float
    index: int
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """How much of a clip is ever decoded; what is longer or larger is refused, never cut.

    Attributes:
        seconds: longest clip (s).
        pixels: most pixels a frame (width x height).
        streams: most streams in the container.
    """

    seconds: float = 50.0
    pixels: int = 4096 * 2304
    streams: int = 32


@dataclass(frozen=True, slots=True)
class Caution:
    """Something a reader of the score should know: a stable code and a sentence.

    Codes: ``no_video``, ``no_face``, ``few_faces`` (a face in under half of the frames),
    ``several_faces``, ``no_audio``, ``silent_audio``, ``short_audio``, ``text_truncated``,
    ``clip_damaged`` (decoding stopped early or skipped packets). Of timelines:
    ``captions_unsorted``, ``captions_overlap``, ``captions_cut``, ``captions_beyond_end``,
    ``caption_beyond_end``. The service adds ``openface_failed``.
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
            column has no value (log F0 of an unvoiced step). Silent sound has no rows.
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
            `preprocessing.openface_columns.COLUMNS`; NaN = not estimated, also because the model
            does not go by it (`preprocessing.face_rows.MODEL_COLUMNS`); `success` says whether the
            row has a face.
        frames: pictures analysed.
        frames_with_face: of these, pictures in which a face was found.
        faces: largest number of faces seen in one picture.
        source: ``"built-in"``, or ``"openface_csv"`` for a file that came with the clip.
        chosen_by: why this face was taken of several; see `ChosenBy`.
    """

    values: NDArray[np.float32]
    frames: int
    frames_with_face: int
    faces: int
    source: Literal["built-in", "openface_csv"]
    chosen_by: ChosenBy = "only"


@dataclass(frozen=True, slots=True)
class ClipFeatures:
    """Everything measured on one clip; a modality that is not there is None.

    Attributes:
        text: the transcript's tokens; None only in training data without words.
        audio: None where the clip has no sound; silent sound has no rows.
        face: None where the clip has no video stream.
        cautions: what the answer must warn of.
        timings_ms: wall time by stage. ``features`` is all of it: ``text``, ``decode`` (container
            and pictures) and ``face`` (what the tracker adds to decoding) one after the other.
            ``audio`` (decoding and analysis) goes on beside them.
    """

    text: TextFeatures | None
    audio: AudioFeatures | None
    face: FaceFeatures | None
    cautions: tuple[Caution, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
