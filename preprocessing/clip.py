"""The typed objects that pass between the steps of preprocessing: unit and rate travel along."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """

    rgb: NDArray[np.uint8]
    seconds: float
    index: int


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
