"""What a regression learns from a clip's voice and face: statistics of its rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.corpus import Corpus

Rows = NDArray[np.float32]
"""(steps, columns) of a voice or a face; NaN where a value is unknown."""

Statistics = NDArray[np.float64]
"""Numbers of a clip, or (n, numbers) of several."""


def statistics(rows: Rows) -> Statistics:
    """(7 columns + 2,) of a clip's rows (steps, columns).

    Mean and spread of each column; of its changes from row to row the mean, which is the clip's
    trend, and the mean size; its means over the first, middle and last third; then the share of
    unknown values and the number of rows. Columns without any value count as 0.
    """
    values = rows.astype(np.float64)
    steps = np.diff(values, axis=0)
    parts = [_mean(values), np.sqrt(_mean((values - _mean(values)) ** 2))]
    parts += [_mean(steps), _mean(np.abs(steps))]
    parts += [_mean(third) for third in np.array_split(values, 3)]
    return np.concatenate([*parts, [np.isnan(values).mean(), len(values)]])


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each column over what is known of it; 0 where nothing is."""
    known = ~np.isnan(values)
    mean: NDArray[np.float64] = np.where(known, values, 0).sum(axis=0) / np.maximum(
        known.sum(axis=0), 1
    )
    return mean


def voice_statistics(corpus: Corpus) -> Statistics:
    """(n, statistics) of every clip's `statistics`, without chroma.

    Chroma tells the key of music; of a voice it tells the actor. Left out, unseen actors' pairs are
    ordered a little better (``python -m benchmarks.feature_baselines``).
    """
    names = corpus.schema.audio_columns
    heard = [index for index, name in enumerate(names) if not name.startswith("chroma")]
    return np.array([statistics(sample.audio[:, heard]) for sample in corpus.samples])


def face_statistics(corpus: Corpus) -> Statistics:
    """(n, video columns) of every clip's mean row; 0 where a column is unknown.

    RAVDESS's faces come as means over the clip, so there is nothing but the mean to learn from.
    """
    return np.array([_mean(sample.video.astype(np.float64)) for sample in corpus.samples])


def joint_statistics(corpus: Corpus) -> Statistics:
    """(n, statistics) voice beside face."""
    return np.concatenate([voice_statistics(corpus), face_statistics(corpus)], axis=1)
