"""Chroma from a constant-Q transform, as `librosa.feature.chroma_cqt` gives it.

librosa makes the transform's filters anew for every sound. They are the same for all of ours, and
cost more than everything else that is done to a sound of three seconds; here they are made once.
The transform is Schörkhuber and Klapuri's (2010): the filters of the top octave, then the sound at
half its rate under the filters of the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import librosa
import numpy as np
from numpy.typing import NDArray

from preprocessing import schema
from preprocessing.clip import SOUND_RATE

OCTAVES: Final = 7
BINS: Final = 36
"""Of the transform in an octave; three make a chroma column."""

CHROMA: Final = 12

SPARSITY: Final = 0.01
"""Share of a filter's magnitude that is left out, in what is smallest of its spectrum."""

SHORTEST: Final = 1024 * 64
"""Samples that the transform needs (2.97 s): it analyses its lowest octave with 1024 points at 1/64
of the rate."""


@dataclass(frozen=True, slots=True)
class _Octave:
    """The filters of an octave, for the sound at this octave's rate.

    Attributes:
        spectra: (`BINS`, points // 2 + 1) complex, sparse.
        points: of the Fourier transform.
        hop: samples between two frames.
    """

    spectra: Any
    points: int
    hop: int


def chroma(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Energy of the twelve pitch classes in a sound, the strongest of a frame being 1.

    Args:
        samples: (n,) at `SOUND_RATE`, `SHORTEST` at least.

    Returns:
        (12, frames) from C to B, a frame every `schema.HOP` samples, centred.
    """
    octaves, classes = _filters()
    responses: list[NDArray[np.floating]] = []
    for octave in octaves:
        if responses:
            samples = librosa.resample(samples, orig_sr=2, target_sr=1, scale=True)
        spectrum = librosa.stft(
            samples, n_fft=octave.points, hop_length=octave.hop, window="ones", pad_mode="constant"
        )
        responses.append(np.abs(octave.spectra @ spectrum))
    frames = min(response.shape[1] for response in responses)
    transform = np.concatenate([response[:, :frames] for response in reversed(responses)])
    return np.asarray(librosa.util.normalize(classes @ transform, axis=0), np.float32)


@cache
def _filters() -> tuple[list[_Octave], NDArray[np.float32]]:
    """The octaves, the highest first; and (12, bins) which bin belongs to which class."""
    lowest = float(librosa.note_to_hz("C1"))
    frequencies = librosa.cqt_frequencies(OCTAVES * BINS, fmin=lowest, bins_per_octave=BINS)
    # Every bin is as wide as its distance from the next: constant for a constant Q.
    ratio = 2 ** (2 / BINS)
    width = (ratio - 1) / (ratio + 1)
    lengths, _ = librosa.filters.wavelet_lengths(
        freqs=frequencies, sr=SOUND_RATE, window="hann", alpha=width
    )
    octaves = []
    for number in range(OCTAVES):
        last = len(frequencies) - number * BINS
        of_octave = slice(last - BINS, last)
        basis, points_long = librosa.filters.wavelet(
            freqs=frequencies[of_octave],
            sr=SOUND_RATE / 2**number,
            window="hann",
            pad_fft=True,
            alpha=width,
        )
        points = basis.shape[1]
        spectra = np.fft.fft(basis * points_long[:, None] / points)[:, : points // 2 + 1]
        sparse = librosa.util.sparsify_rows(spectra, quantile=SPARSITY, dtype=np.complex64)
        scale = np.sqrt(2.0**number / lengths[of_octave]).astype(np.float32)
        octaves.append(
            _Octave(sparse.multiply(scale[:, None]).tocsr(), points, schema.HOP >> number)
        )
    classes = librosa.filters.cq_to_chroma(
        len(frequencies), bins_per_octave=BINS, n_chroma=CHROMA, fmin=lowest
    )
    return octaves, np.asarray(classes, np.float32)
