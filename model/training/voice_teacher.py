"""A teacher for the voice: ``python -m model.training.voice_teacher --features build/features``.

A thousand acted clips are enough for a support vector regression on clip statistics, and too few
for a network of millions of weights, which learns the actors by heart. So the regression is fitted
to the training actors, and scores changed copies of their clips: other levels, other voices'
offsets, other speeds, mixtures of two clips. They become the corpus ``voices``, from which the
network learns the smooth function that carries over to new speakers. The words of a clip come
along.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from tqdm import tqdm

from model.training.datasets import Corpus, load_corpus, save_corpus

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Changes:
    """How far the copies go from their clips; lengths in standard deviations of the columns.

    Attributes:
        offset: of what is added to every row alike, as another voice and room would.
        jitter: of what is added to each row.
        liveliness: of the logarithm of the factor on the rows' distance from their mean.
        speed: largest factor of duration, up and down.
        mixed: share of the copies that are mixtures of two clips, brought to one length.
    """

    offset: float = 0.7
    jitter: float = 0.1
    liveliness: float = 0.15
    speed: float = 1.25
    mixed: float = 0.5


def statistics(rows: Rows) -> NDArray[np.float64]:
    """(4 columns + 2,) of a clip: mean and spread of each column, and of its changes.

    Of the changes from row to row the mean, which is the clip's trend, and the mean size. Then the
    share of unvoiced rows and the length. Columns without any value count as 0.
    """
    values = rows.astype(np.float64)
    known = ~np.isnan(values)
    steps = np.diff(values, axis=0)
    parts = [_mean(values), np.sqrt(_mean((values - _mean(values)) ** 2))]
    parts += [_mean(steps), _mean(np.abs(steps))]
    return np.concatenate([*parts, [1 - known.mean(), len(values)]])


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each column over what is known of it; 0 where nothing is."""
    known = ~np.isnan(values)
    mean: NDArray[np.float64] = np.where(known, values, 0).sum(axis=0) / np.maximum(
        known.sum(axis=0), 1
    )
    return mean


def regression(columns: int) -> Pipeline:
    """A support vector regression on this many statistics, each standardised."""
    return make_pipeline(StandardScaler(), SVR(C=3.0, gamma=0.5 / columns, epsilon=0.2))


def voice_statistics(corpus: Corpus) -> NDArray[np.float64]:
    """(n, statistics) of every clip's `statistics`, without chroma.

    Chroma tells the key of music; of a voice it tells the actor. Left out, unseen actors' pairs are
    ordered a little better (``python -m benchmarks.feature_baselines``).
    """
    names = corpus.schema.audio_columns
    heard = [index for index, name in enumerate(names) if not name.startswith("chroma")]
    return np.array([statistics(sample.audio[:, heard]) for sample in corpus.samples])


def fit_teacher(corpus: Corpus) -> Pipeline:
    """The regression of the scores on the statistics of the voices."""
    clips = voice_statistics(corpus)
    return regression(clips.shape[1]).fit(clips, corpus.scores)


def changed(
    rows: Rows, other: Rows, spread: Rows, how: Changes, random: np.random.Generator
) -> Rows:
    """A copy of a clip's rows (steps, columns); `other` is the clip that may be mixed in."""
    length = max(4, round(len(rows) * how.speed ** random.uniform(-1, 1)))
    values = _resampled(rows, length)
    if random.random() < how.mixed:
        share = random.uniform(0.3, 0.7)
        values = share * values + (1 - share) * _resampled(other, length)
    mean = np.nan_to_num(_mean(values.astype(np.float64)))
    values = mean + (values - mean) * np.exp(random.normal(0, how.liveliness))
    noise = random.normal(0, how.offset, rows.shape[1]) + random.normal(0, how.jitter, values.shape)
    return np.asarray(values + noise * spread, np.float32)


def _resampled(rows: Rows, length: int) -> Rows:
    """Rows at `length` even places; between a known and an unknown value nothing is known."""
    places = np.linspace(0, len(rows) - 1, length)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, len(rows) - 1)
    part = (places - low)[:, None].astype(np.float32)
    between: Rows = np.where(part == 0, rows[low], (1 - part) * rows[low] + part * rows[high])
    return between


def voices(corpus: Corpus, *, copies: int, how: Changes, seed: int) -> Corpus:
    """Changed copies of a corpus's clips with the scores of the teacher fitted to it.

    Args:
        corpus: clips with sound, of training speakers only.
        copies: of each clip.
        how: the changes.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    teacher = fit_teacher(corpus)
    joined = np.concatenate([sample.audio for sample in corpus.samples])
    spread = np.nanstd(joined, axis=0)
    chosen = np.tile(np.arange(len(corpus)), copies)
    samples = []
    for index in tqdm(chosen, desc="voices", disable=None):
        sample = corpus.samples[index]
        other = corpus.samples[random.integers(len(corpus))].audio
        samples.append(
            replace(
                sample,
                audio=changed(sample.audio, other, spread, how, random),
                video=sample.video[:0],
            )
        )
    ids = [f"{corpus.ids[index]}-{number // len(corpus)}" for number, index in enumerate(chosen)]
    made = Corpus(
        name="voices",
        schema=corpus.schema,
        samples=samples,
        scores=np.zeros(len(samples), np.float32),
        ids=np.array(ids, np.str_),
        speakers=corpus.speakers[chosen],
        splits=np.full(len(chosen), "train"),
        texts=corpus.texts[chosen],
    )
    scores = np.clip(teacher.predict(voice_statistics(made)), -3, 3)
    return replace(made, scores=scores.astype(np.float32))


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the corpus from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.voice_teacher", description=__doc__
    )
    parser.add_argument("corpus", nargs="?", default="ravdess", help="clips with acted voices")
    parser.add_argument("--features", type=Path, default=Path("build/features"))
    parser.add_argument("--copies", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    corpus = load_corpus(options.features / f"{options.corpus}.npz").split("train")
    corpus = corpus.where(np.array([len(sample.audio) > 1 for sample in corpus.samples]))
    made = voices(corpus, copies=options.copies, how=Changes(), seed=options.seed)
    save_corpus(options.features / "voices.npz", made)
    sys.stdout.write(f"{options.features / 'voices.npz'}: {len(made)} clips\n")


if __name__ == "__main__":
    main()
