"""Teachers for voice and face: regressions on clip statistics, fitted to acted clips.

A thousand acted clips are enough for a regression on clip statistics, and too few for a network of
millions of weights, which learns the actors by heart. So the regressions are fitted to the training
actors and score the changed copies of their clips that `model.training.cues` makes.

Kinds and settings were chosen by cross-validation over RAVDESS's actors 1-16 and by FER2013's
validation pictures: ``python -m benchmarks.feature_baselines``.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesRegressor, StackingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from model.corpus import Corpus

Rows = NDArray[np.float32]
Statistics = NDArray[np.float64]

FOLDS = 7
"""Groups of speakers for the weights of voice, face and both in the joint teacher."""


class Teacher(Protocol):
    """A fitted regression of scikit-learn."""

    def predict(self, statistics: Statistics) -> NDArray[np.float64]:
        """(n, statistics) to (n,) scores, not clipped."""


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


def smooth_regression(columns: int, *, strength: float = 10.0) -> Pipeline:
    """A support vector regression on this many statistics, each standardised."""
    machine = SVR(C=strength, gamma=0.5 / columns, epsilon=0.2)
    return make_pipeline(StandardScaler(), machine)


def forest(*, share: float = 1.0) -> ExtraTreesRegressor:
    """Randomised trees: unlike distances they bear that actors' faces differ at rest.

    Args:
        share: of the statistics, tried at each branch.
    """
    return ExtraTreesRegressor(
        n_estimators=300, min_samples_leaf=3, max_features=share, random_state=0
    )


def fit_voice_teacher(corpus: Corpus) -> Teacher:
    """The regression of the scores on `voice_statistics`."""
    clips = voice_statistics(corpus)
    return _fitted(smooth_regression(clips.shape[1]), clips, corpus)


def fit_face_teacher(corpus: Corpus) -> Teacher:
    """The regression of the scores on `face_statistics` of acted clips."""
    return _fitted(forest(), face_statistics(corpus), corpus)


def fit_picture_teacher(corpus: Corpus) -> Teacher:
    """The regression of the scores on `face_statistics` of many people's pictures."""
    pictures = face_statistics(corpus)
    return _fitted(smooth_regression(pictures.shape[1], strength=3.0), pictures, corpus)


def _fitted(learner: Pipeline | ExtraTreesRegressor, clips: Statistics, corpus: Corpus) -> Teacher:
    teacher: Teacher = learner.fit(clips, corpus.scores)
    return teacher


def joint_statistics(corpus: Corpus) -> Statistics:
    """(n, statistics) voice beside face."""
    return np.concatenate([voice_statistics(corpus), face_statistics(corpus)], axis=1)


def fit_joint_teacher(corpus: Corpus) -> Teacher:
    """The regression of the scores on `joint_statistics`.

    A voice's, a face's and a forest on both are weighed by what they say of speakers they were not
    fitted to.
    """
    heard = voice_statistics(corpus).shape[1]
    clips = joint_statistics(corpus)
    voice, face = slice(0, heard), slice(heard, clips.shape[1])
    learners = [
        ("voice", _on(voice, smooth_regression(heard))),
        ("face", _on(face, forest())),
        ("both", forest(share=0.5)),
    ]
    groups = GroupKFold(min(FOLDS, len(set(corpus.speakers))))
    folds = list(groups.split(clips, groups=corpus.speakers))
    stacked = StackingRegressor(learners, LinearRegression(positive=True), cv=folds)
    teacher: Teacher = stacked.fit(clips, corpus.scores)
    return teacher


def _on(columns: slice, learner: Pipeline | ExtraTreesRegressor) -> Pipeline:
    return make_pipeline(ColumnTransformer([("chosen", "passthrough", columns)]), learner)
