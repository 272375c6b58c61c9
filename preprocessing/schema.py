"""Names, rates and rules of the features: what a checkpoint's fingerprint is made of.

Columns after the CH-SIMS set (Yu et al., ACL 2020: zero-crossing rate, 20 MFCC, 12 CQT chroma),
with log F0 and loudness added, and OpenFace 2.x's action unit intensities (0-5) with the shape of
the inner face.

Every number that changes the value of a feature is here and is spelled out in a rule, so that
changing one changes the fingerprint.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from preprocessing.clip import SOUND_RATE

if TYPE_CHECKING:
    from model.inputs import FeatureSchema

NAME = "dpdf-5"
"""Name and version of the extractor."""

STEPS_PER_SECOND = 10
"""Rate of the rows of sound and face, and the unit of a clip's time (1/s)."""

PICTURES_PER_SECOND = 5
"""Rate of the pictures analysed (1/s): each stands for two rows, at half the cost."""

MAX_TOKENS = 256
"""Longest text in WordPiece tokens, [CLS] and [SEP] included."""

MAX_STEPS = 500
"""Most rows of sound or face; what a clip at the limit of 50 s has beyond is under 0.2 s."""

AUDIO_COLUMNS: tuple[str, ...] = (
    "zero_crossing_rate",
    *(f"mfcc_{i}" for i in range(20)),
    *(f"chroma_cqt_{i}" for i in range(12)),
    "log_f0",
    "rms_db",
)
"""35 columns. zcr: share of sign changes 0-1; mfcc: dB-based, htk=True; chroma 0-1; log_f0:
ln(Hz), NaN where unvoiced; rms_db: dB relative to the clip's own speech level."""

HOP = 512
"""Samples between two analysis frames (23.2 ms)."""

WINDOW = 2048
"""Samples in an analysis frame (92.9 ms)."""

SPEECH_DBFS = -26.0
"""Level that active speech is scaled to (dB re full scale; the nominal level of ITU-T P.56)."""

ACTIVE_DB = 30.0
"""Frames within this many dB of the clip's loud frames count as active speech."""

SILENCE_DBFS = -70.0
"""Sound whose active level is below this holds no speech (dB re full scale)."""

LOWEST_DB = -60.0
"""Floor of rms_db (dB re the clip's speech level)."""

F0_RANGE = (60.0, 600.0)
"""Range searched for the fundamental frequency of a voice (Hz)."""

VOICED_CORRELATION = 0.6
"""Least normalised correlation of a voiced frame with itself one period later. Against
`librosa.pyin` on speech this finds 70 % of the voiced frames, 85 % of its frames are right, and
0.5 % are an octave off."""

VOICED_DB = 20.0
"""Voiced frames are at most this many dB below the clip's speech level."""

HIGH_PASS = 60.0
"""Corner of the filter that takes rumble and offset out of the sound (Hz, Butterworth, order 4)."""

AUDIO_RULE = (
    f"librosa 0.11; mono {SOUND_RATE} Hz; mean removed, Butterworth high-pass of order 4 at "
    f"{HIGH_PASS:g} Hz; frames of {WINDOW} every {HOP}, centred, zero padded; active frames are "
    f"within {ACTIVE_DB:g} dB of the 95th percentile of the frame levels, their mean power is "
    f"scaled to {SPEECH_DBFS:g} dBFS; below {SILENCE_DBFS:g} dBFS the sound is silent; "
    f"zero_crossing_rate; mfcc 20 of 128 htk mel bands, power_to_db top_db 80; chroma_cqt 7 "
    f"octaves from C1, 36 bins an octave, tuning 0; log_f0 by yin {F0_RANGE[0]:g}-{F0_RANGE[1]:g} "
    f"Hz, voiced where the frame is at most {VOICED_DB:g} dB below the active level, correlates by "
    f"at least {VOICED_CORRELATION:g} with itself one period later, and the period is not at an "
    f"end of the range; rms_db re active level, at least {LOWEST_DB:g}; mean of the frames whose "
    f"centre lies in each 1/{STEPS_PER_SECOND} s, of the voiced frames for log_f0; steps more than "
    f"{ACTIVE_DB:g} dB below the active level are pauses and dropped"
)
"""How sound becomes rows: `preprocessing.audio`."""

ACTION_UNITS: tuple[str, ...] = (
    *("01", "02", "04", "05", "06", "07", "09", "10", "12"),
    *("14", "15", "17", "20", "23", "25", "26", "45"),
)
"""OpenFace 2.x's action units with an intensity."""

INTENSITY_COLUMNS: tuple[str, ...] = tuple(f"AU{unit}_r" for unit in ACTION_UNITS)
"""17 columns, OpenFace's intensities 0-5, NaN where the tracker has no estimate."""

SHAPE_COLUMNS: tuple[str, ...] = tuple(f"face_{axis}_{i}" for axis in "xy" for i in range(17, 68))
"""102 columns: the inner face aligned to the mean face (mm), `preprocessing.face_shape`."""

FOLLOWED_SECONDS = 3.2
"""Faces are looked for after this time (s), and followed in between."""

REST_QUANTILE = 0.15
"""Share of a clip's pictures in which an action unit is taken to rest (`action_units.settle`)."""

CALIBRATION_SECONDS = 5.0
"""A face that was seen so long is half calibrated to what it shows at rest."""

VIDEO_COLUMNS: tuple[str, ...] = INTENSITY_COLUMNS + SHAPE_COLUMNS
"""What the model sees of a face."""

_FITTED = ("action_units.json", "expressions.safetensors", "mean_face.json")


def _digest(*names: str) -> str:
    """First 16 hex digits of the sha256 over files beside this one."""
    content = b"".join((Path(__file__).parent / name).read_bytes() for name in names)
    return hashlib.sha256(content).hexdigest()[:16]


VIDEO_RULE = (
    f"upright frames, the first at or after each tick of 1/{PICTURES_PER_SECOND} s since the "
    f"first frame, each shown until the next, for 1/{PICTURES_PER_SECOND} s at most, a row every "
    f"1/{STEPS_PER_SECOND} s; longest side at most 1920 pixels; mediapipe 0.10.21 face "
    f"landmarks, faces looked for every {FOLLOWED_SECONDS} s and followed in between; OpenFace "
    f"action unit intensities 0-5, less a face's {REST_QUANTILE} quantile times t / (t + "
    f"{CALIBRATION_SECONDS} s), and 3D landmarks 17 to 67 aligned to a mean face, by weights "
    f"{_digest(*_FITTED)}; frames without a face dropped"
)
"""How frames become rows: `preprocessing.decode` and `preprocessing.face`."""


def feature_schema(tokenizer: str) -> FeatureSchema:
    """Build the schema in force for an encoder's vocabulary.

    Args:
        tokenizer: sha256 of the WordPiece vocabulary (hex), `preprocessing.text.WordPiece.sha256`.
    """
    # Imported here: it loads torch, which the processes that only extract features do without.
    from model.inputs import FeatureSchema

    return FeatureSchema(
        name=NAME,
        tokenizer=tokenizer,
        max_tokens=MAX_TOKENS,
        steps_per_second=STEPS_PER_SECOND,
        audio_columns=AUDIO_COLUMNS,
        video_columns=VIDEO_COLUMNS,
        audio_rule=AUDIO_RULE,
        video_rule=VIDEO_RULE,
    )
