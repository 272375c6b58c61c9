"""Sound to 35 acoustic columns, ten rows a second, with librosa (McFee et al. 2015).

The rule in words is `preprocessing.schema.AUDIO_RULE`. Recordings differ in level by tens of dB for
reasons that have nothing to do with the speaker, so every clip is first scaled to one level of
active speech. Chroma takes no tuning estimate: a voice is not tuned to a concert pitch, and the
estimate cost a fifth of the time.
"""

from __future__ import annotations

import librosa
import numpy as np
from numpy.typing import NDArray
from scipy import signal

from preprocessing import schema
from preprocessing.chroma import SHORTEST, chroma
from preprocessing.clip import SOUND_RATE, AudioFeatures, Sound

Floats = NDArray[np.floating]

QUIETEST_DBFS = -120.0
"""Level reported for digital silence (dB re full scale), where the logarithm has no value."""


def analyse(sound: Sound) -> AudioFeatures:
    """Acoustic rows of a sound.

    Args:
        sound: any length, also empty.

    Returns:
        Rows in the order of `schema.AUDIO_COLUMNS`. NaN only in ``log_f0``, where no frame of the
        step is voiced. Sound below the silence floor, also an empty one, gives no rows.
    """
    samples = _without_rumble(sound.samples)
    rms = _frame_rms(samples)
    level = _speech_level(rms)
    silent = level < schema.SILENCE_DBFS
    values = np.empty((0, len(schema.AUDIO_COLUMNS)), np.float32)
    if not silent:
        gain = 10 ** ((schema.SPEECH_DBFS - level) / 20)
        scaled = (samples * gain).astype(np.float32)
        values = _pool(_columns(scaled, _decibels(rms) - level)).astype(np.float32)
    return AudioFeatures(values, seconds=sound.seconds, level_dbfs=level, silent=silent)


def warm_up() -> None:
    """Run every step once on a second of noise, so that numba compiles before the first request."""
    noise = np.random.default_rng(0).standard_normal(SOUND_RATE).astype(np.float32)
    analyse(Sound(noise * np.float32(0.1)))


def _decibels(amplitude: Floats) -> Floats:
    return np.asarray(20 * np.log10(np.maximum(amplitude, 10 ** (QUIETEST_DBFS / 20))))


def _without_rumble(samples: Floats) -> Floats:
    if not len(samples):
        return samples
    filter_ = signal.butter(4, schema.HIGH_PASS, "highpass", fs=SOUND_RATE, output="sos")
    return np.asarray(signal.sosfilt(filter_, samples - samples.mean(dtype=np.float64)))


def _frame_rms(samples: Floats) -> Floats:
    """(frames,) root mean square of each analysis frame, full scale ±1."""
    if not len(samples):
        return np.zeros(1)
    rms = librosa.feature.rms(y=samples, frame_length=schema.WINDOW, hop_length=schema.HOP)
    return np.asarray(rms[0], np.float64)


def _speech_level(rms: Floats) -> float:
    """Mean level of the active frames (dB re full scale), `QUIETEST_DBFS` at least."""
    levels = _decibels(rms)
    active = levels >= float(np.percentile(levels, 95)) - schema.ACTIVE_DB
    return float(_decibels(np.sqrt(np.mean(rms[active] ** 2))))


def _columns(samples: Floats, rms_db: Floats) -> Floats:
    """(frames, 35) of the scaled sound; the spectrum is computed once."""
    # Zeros, whose rows are left out again.
    padded = np.pad(samples, (0, max(0, SHORTEST - len(samples))))
    power = np.abs(librosa.stft(padded, n_fft=schema.WINDOW, hop_length=schema.HOP)) ** 2
    mel = librosa.feature.melspectrogram(S=power, sr=SOUND_RATE, htk=True)
    frames = len(rms_db)
    rows = [
        librosa.feature.zero_crossing_rate(
            padded, frame_length=schema.WINDOW, hop_length=schema.HOP
        ),
        librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=20),
        chroma(padded),
        _log_f0(samples, loud=rms_db >= -schema.VOICED_DB)[None],
        np.maximum(rms_db, schema.LOWEST_DB)[None],
    ]
    return np.vstack([row[:, :frames] for row in rows]).T


def _log_f0(samples: Floats, loud: NDArray[np.bool_]) -> Floats:
    """(frames,) ln of the fundamental frequency in Hz, NaN where unvoiced.

    YIN (de Cheveigné & Kawahara 2002) gives a period to every frame. A frame is voiced if it is
    loud enough, resembles itself one period later, and this period is inside the range searched:
    at the ends YIN puts what has no period.
    """
    low, high = schema.F0_RANGE
    f0 = librosa.yin(
        samples,
        fmin=low,
        fmax=high,
        sr=SOUND_RATE,
        frame_length=schema.WINDOW,
        hop_length=schema.HOP,
    )
    period = SOUND_RATE / f0
    inside = (period > SOUND_RATE // high + 1) & (period < SOUND_RATE / low - 1)
    similar = _self_correlation(samples, period) >= schema.VOICED_CORRELATION
    voiced = loud & similar & inside
    return np.where(voiced, np.log(f0), np.nan)


def _self_correlation(samples: Floats, period: Floats) -> Floats:
    """(frames,) normalised correlation, -1 to 1, of half a frame with itself a period later.

    Args:
        samples: (n,) the sound.
        period: (frames,) in samples, at most half a frame.
    """
    half = schema.WINDOW // 2
    frames = librosa.util.frame(
        np.pad(samples, half), frame_length=schema.WINDOW, hop_length=schema.HOP, axis=0
    )
    lag = np.rint(period).astype(np.int64)
    # The two halves lie around the frame's centre, where the columns' other values are taken.
    early = (half - lag)[:, None] // 2 + np.arange(half)
    first = np.take_along_axis(frames, early, axis=1)
    second = np.take_along_axis(frames, early + lag[:, None], axis=1)
    energy = np.sqrt(np.sum(first**2, axis=1) * np.sum(second**2, axis=1))
    return np.asarray(np.sum(first * second, axis=1) / np.maximum(energy, 1e-12))


def _pool(columns: Floats) -> Floats:
    """(frames, columns) to (steps, columns): mean over the frames whose centre is in a step.

    Frames are closer than steps, so that no step is without a frame; NaN does not count.
    """
    centres = np.arange(len(columns)) * schema.HOP
    starts = np.flatnonzero(np.diff(centres * schema.STEPS_PER_SECOND // SOUND_RATE, prepend=-1))
    known = ~np.isnan(columns)
    counts = np.add.reduceat(known.astype(np.float32), starts, axis=0)
    sums = np.add.reduceat(np.where(known, columns, 0), starts, axis=0)
    pooled = np.full_like(sums, np.nan)
    np.divide(sums, counts, out=pooled, where=counts > 0)
    return pooled
