"""Sounds of known content."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from preprocessing.clip import SOUND_RATE, Sound


def tone(frequency: float, seconds: float, amplitude: float = 0.1) -> Sound:
    """A sine (Hz, s, full scale 1)."""
    time = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    return Sound((amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32))


def harmonics(frequency: float, seconds: float) -> Sound:
    """Ten partials falling by 6 dB an octave, as in a voice."""
    parts = [tone(k * frequency, seconds, 0.1 / k).samples for k in range(1, 11)]
    return Sound(np.sum(parts, axis=0, dtype=np.float32))


def noise(seconds: float, amplitude: float = 0.1, seed: int = 3) -> Sound:
    """White noise."""
    random = np.random.default_rng(seed)
    samples: NDArray[np.float64] = random.standard_normal(round(seconds * SOUND_RATE))
    return Sound((amplitude * samples).astype(np.float32))
