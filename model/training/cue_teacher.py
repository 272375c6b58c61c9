"""Teachers for voice and face: regressions on clip statistics, fitted to acted clips.

A thousand acted clips are enough for a regression on clip statistics, and too few for a network of
millions of weights, which learns the actors by heart. So the regressions are fitted to the training
actors and score the changed copies of their clips that `model.training.cues` makes.

Kinds and settings were chosen by cross-validation over RAVDESS's actors 1-16 and by FER2013's
validation pictures: ``python -m benchmarks.feature_baselines``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVR

from model.corpus import Corpus
from model.training.clip_statistics import (
    Statistics,
    face_statistics,
    joint_statistics,
    voice_statistics,
)
from model.training.ordering import EMOTION_FIELDS, emotions

DOUBT = 1e-3
"""Added to each probability, so that neither voice nor face can rule out what the other says."""

FER2013_TRAINING = {
    "angry": 3995,
    "disgust": 436,
    "fear": 4097,
    "happy": 7215,
    "neutral": 4965,
    "sad": 4830,
    "surprise": 3171,
}
"""Pictures of each emotion in FER2013's training split as published (Goodfellow et al., 2013).

The data at hand keep 2,200 of an emotion at most, which makes a smile rarer than it was.
"""

RAVDESS_EVEN = {
    "01": 1.0,
    "02": 2.0,
    "03": 6.5,
    "04": 2.0,
    "05": 2.0,
    "06": 2.0,
    "07": 2.0,
    "08": 2.0,
}
"""Clips of each of RAVDESS's emotions that make its mean score 0: those of an actor, but for happy.

Four of its emotions are unhappy and happy (03) alone is not: what leaves its mood open would count
as unhappy, though nobody speaks that often in anger, sorrow, fear or disgust.
"""

PRIORS: dict[str, Mapping[str, float]] = {"fer2013": FER2013_TRAINING, "ravdess": RAVDESS_EVEN}
"""By corpus, how often each of its `kinds` is taken to come; only their ratios count."""


class Teacher(Protocol):
    """Something fitted that scores clips by their statistics."""

    def predict(self, statistics: Statistics) -> NDArray[np.float64]:
        """(n, statistics) to (n,) scores, not clipped."""


class Classifier(Protocol):
    """What tells classes apart, as scikit-learn's do."""

    @property
    def classes_(self) -> NDArray[np.str_]:
        """(classes,) names, in the order of the probabilities."""

    def fit(self, statistics: Statistics, classes: NDArray[np.str_]) -> object:
        """Learn from (n, statistics) and (n,) classes."""

    def predict_proba(self, statistics: Statistics) -> NDArray[np.float64]:
        """(n, statistics) to (n, classes) probabilities."""


class VoiceAndFace:
    """A classifier of voices beside faces that hears and sees them apart (naive Bayes).

    Given the emotion, how an actor sounds and how he looks are taken to be independent: the
    probabilities of a classifier of each are multiplied, and divided by the prior that both hold.
    Actors held out are scored better so than by any one learner of all statistics (``python -m
    benchmarks.feature_baselines``), which has the more columns to know an actor by.

    Args:
        heard: how many of the statistics are the voice's; they come first.
    """

    def __init__(self, heard: int) -> None:
        self._heard = heard
        self._voice, self._face = small_network(), small_network()
        self._prior: NDArray[np.float64] = np.zeros(0)

    @property
    def classes_(self) -> NDArray[np.str_]:
        """(classes,) names, in the order of the probabilities."""
        names: NDArray[np.str_] = self._voice.classes_
        return names

    def fit(self, statistics: Statistics, classes: NDArray[np.str_]) -> VoiceAndFace:
        """Learn from (n, statistics) and (n,) classes."""
        self._voice.fit(statistics[:, : self._heard], classes)
        self._face.fit(statistics[:, self._heard :], classes)
        self._prior = np.array([(classes == name).mean() for name in self.classes_])
        return self

    def predict_proba(self, statistics: Statistics) -> NDArray[np.float64]:
        """(n, statistics) to (n, classes) probabilities."""
        voice = self._voice.predict_proba(statistics[:, : self._heard])
        face = self._face.predict_proba(statistics[:, self._heard :])
        joint = (voice + DOUBT) * (face + DOUBT) / self._prior
        probabilities: NDArray[np.float64] = joint / joint.sum(axis=1, keepdims=True)
        return probabilities


class ExpectedScore:
    """A classifier of emotions as a regression: the mean score of the classes it thinks possible.

    Emotions of like sentiment look and sound nothing alike, and a face between happy and angry is
    not neutral: told apart first, their scores are hit better than by a regression.

    Args:
        classifier: not fitted yet.
        prior: how many times as often each class comes as what the classifier is fitted to says;
            None = just as often.
    """

    def __init__(self, classifier: Classifier, prior: Mapping[str, float] | None = None) -> None:
        self._classifier = classifier
        self._prior = prior
        self._scores: NDArray[np.float64] = np.zeros(0)

    def fit(
        self, statistics: Statistics, scores: NDArray[np.float32], classes: NDArray[np.str_]
    ) -> ExpectedScore:
        """Learn from (n, statistics), (n,) scores and (n,) classes."""
        self._classifier.fit(statistics, classes)
        names = self._classifier.classes_
        self._scores = np.array([scores[classes == name].mean() for name in names])
        return self

    def predict(self, statistics: Statistics) -> NDArray[np.float64]:
        """(n, statistics) to (n,) scores."""
        likely = self._classifier.predict_proba(statistics)
        if self._prior is not None:
            likely = likely * [self._prior[name] for name in self._classifier.classes_]
            likely /= likely.sum(axis=1, keepdims=True)
        expected: NDArray[np.float64] = likely @ self._scores
        return expected


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of several teachers."""

    teachers: tuple[Teacher, ...]

    def predict(self, statistics: Statistics) -> NDArray[np.float64]:
        """(n, statistics) to (n,) scores."""
        predicted: NDArray[np.float64] = np.mean(
            [teacher.predict(statistics) for teacher in self.teachers], axis=0
        )
        return predicted


def smooth_regression(columns: int, *, strength: float = 10.0) -> Pipeline:
    """A support vector regression on this many statistics, each standardised."""
    machine = SVR(C=strength, gamma=0.5 / columns, epsilon=0.2)
    return make_pipeline(StandardScaler(), machine)


def small_network() -> Pipeline:
    """A classifier with one hidden layer, its weights held small."""
    network = MLPClassifier(
        (64,), solver="lbfgs", alpha=20.0, tol=1e-3, max_iter=5000, random_state=0
    )
    return make_pipeline(StandardScaler(), network)


def root(values: Statistics) -> Statistics:
    """Square roots of the sizes, signs kept: more of a unit's weak intensities, less of strong."""
    rooted: Statistics = np.sign(values) * np.sqrt(np.abs(values))
    return rooted


def forest() -> ExtraTreesRegressor:
    """Randomised trees: unlike distances they bear that actors' faces differ at rest."""
    return ExtraTreesRegressor(
        n_estimators=300, min_samples_leaf=3, max_features=0.5, random_state=0
    )


def fit_voice_teacher(corpus: Corpus, often: Mapping[str, float] | None = None) -> Mean:
    """From `voice_statistics` of acted clips to scores: support vectors and a small network.

    Args:
        corpus: the clips.
        often: how many times as often each of the `kinds` comes as it is there; None = `prior`.
    """
    return _smooth_and_told(voice_statistics(corpus), corpus, often, strength=10.0)


def fit_face_teacher(corpus: Corpus) -> Teacher:
    """From `face_statistics` of acted clips to scores: a forest, and a small network of roots."""
    clips = face_statistics(corpus)
    rooted = make_pipeline(FunctionTransformer(root), small_network())
    told = ExpectedScore(rooted).fit(clips, corpus.scores, kinds(corpus))
    return Mean((_fitted(forest(), clips, corpus), told))


def fit_joint_teacher(corpus: Corpus) -> Teacher:
    """From `joint_statistics` of acted clips to scores: a small network each for voice and face."""
    clips = joint_statistics(corpus)
    apart = VoiceAndFace(clips.shape[1] - len(corpus.schema.video_columns))
    return ExpectedScore(apart).fit(clips, corpus.scores, kinds(corpus))


def fit_picture_teacher(corpus: Corpus, often: Mapping[str, float] | None = None) -> Mean:
    """From `face_statistics` of people's pictures to scores: support vectors, a small network.

    Args:
        corpus: the pictures.
        often: how many times as often each of the `kinds` comes as it is there; None = `prior`.
    """
    return _smooth_and_told(face_statistics(corpus), corpus, often, strength=3.0)


def _smooth_and_told(
    measured: Statistics, corpus: Corpus, often: Mapping[str, float] | None, *, strength: float
) -> Mean:
    """The mean of a regression and of what a classifier expects, by the kinds' frequencies."""
    often = prior(corpus) if often is None else often
    shown = kinds(corpus)
    smooth: Teacher = smooth_regression(measured.shape[1], strength=strength).fit(
        measured, corpus.scores, svr__sample_weight=[often[kind] for kind in shown]
    )
    told = ExpectedScore(small_network(), often).fit(measured, corpus.scores, shown)
    return Mean((smooth, told))


def prior(corpus: Corpus) -> dict[str, float]:
    """How many times as often each of a corpus's `kinds` comes as the corpus has it.

    Relative to the corpus as a whole, so that the mean over it is 1: of FER2013 by
    `FER2013_TRAINING`, of RAVDESS by `RAVDESS_EVEN`, elsewhere 1.
    """
    names, counts = np.unique(kinds(corpus), return_counts=True)
    found = {str(name): int(count) for name, count in zip(names, counts, strict=True)}
    whole: Mapping[str, float] = PRIORS.get(corpus.name, found)
    seen = sum(whole[name] for name in found)
    return {name: whole[name] / seen * len(corpus) / count for name, count in found.items()}


def _fitted(learner: Pipeline | ExtraTreesRegressor, clips: Statistics, corpus: Corpus) -> Teacher:
    teacher: Teacher = learner.fit(clips, corpus.scores)
    return teacher


def kinds(corpus: Corpus) -> NDArray[np.str_]:
    """(n,) what a classifier tells apart: emotions; where none are known the score in steps."""
    if corpus.name in EMOTION_FIELDS:
        return emotions(corpus.name, corpus.ids)
    return np.round(corpus.scores).astype(int).astype(np.str_)
