"""Names, rates and rules of the features: what a checkpoint's fingerprint is made of.

Columns after the CH-SIMS set (Yu et al., ACL 2020: zero-crossing rate, 20 MFCC, 12 CQT chroma),
with log F0 and loudness added, and OpenFace 2.x's action unit intensities (0-5).
"""

from __future__ import annotations

STEPS_PER_SECOND = 10
"""Rate of the frames analysed and of the pooled sound (1/s)."""

MAX_TOKENS = 256
"""Longest text in WordPiece tokens, [CLS] and [SEP] included."""

AUDIO_COLUMNS: tuple[str, ...] = (
    "zero_crossing_rate",
    *(f"mfcc_{i}" for i in range(20)),
    *(f"chroma_cqt_{i}" for i in range(12)),
    "log_f0",
    "rms_db",
)
"""35 columns. zcr: share of sign changes 0-1; mfcc: dB-based, htk=True; chroma 0-1; log_f0:
ln(Hz), NaN where unvoiced; rms_db: dB relative to the clip's own speech level."""

ACTION_UNITS: tuple[str, ...] = tuple(
    "01 02 04 05 06 07 09 10 12 14 15 17 20 23 25 26 45".split()
)
"""OpenFace 2.x's action units with an intensity."""

VIDEO_COLUMNS: tuple[str, ...] = tuple(f"AU{unit}_r" for unit in ACTION_UNITS)
"""17 columns, OpenFace's intensities 0-5, NaN where the tracker has no estimate."""
