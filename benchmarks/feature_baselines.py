"""What simple learners get out of our features: ``python -m benchmarks.feature_baselines``.

The yardstick for the model, and the reason for its choices: the shape of the face beside its action
units, the change from row to row beside the rows of a voice, and which regressions teach the
network (`model.training.cue_teacher`). Nothing of a test split is read: pictures are judged on
FER2013's validation split and on thirds of the training one, voices and faces of actors by
cross-validation over RAVDESS's actors 1-16.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin, clone
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from model.corpus import Corpus, load_corpus
from model.training.clip_statistics import (
    Statistics,
    face_statistics,
    joint_statistics,
    statistics,
    voice_statistics,
)
from model.training.cue_teacher import (
    ExpectedScore,
    Teacher,
    fit_face_teacher,
    fit_joint_teacher,
    fit_picture_teacher,
    fit_voice_teacher,
    forest,
    kinds,
    prior,
    root,
    small_network,
    smooth_regression,
)
from model.training.ordering import NEGATIVE, NEGATIVE_FACES, ordered_share, smiles_told_apart

FOLDS = 8


def smiles(corpus: Corpus, columns: list[int]) -> str:
    """How a regression on these columns tells validation pictures apart."""
    pictures = face_statistics(corpus)[:, columns]
    train, valid = corpus.splits == "train", corpus.splits == "valid"
    machine = smooth_regression(len(columns), strength=3.0)
    machine.fit(pictures[train], corpus.scores[train])
    found = smiles_told_apart(corpus.ids[valid], machine.predict(pictures[valid]))
    return f"{found[1]:.3f} of {found[0]}, balanced {found[2]:.3f}"


def as_published(pictures: Corpus, *, even: bool) -> str:
    """How the pictures' teacher does on thirds of the training pictures that it did not see.

    Each picture counts as its emotion's `prior`, whatever the teacher was told of it.

    Args:
        pictures: the training ones.
        even: whether the teacher takes emotions to be as frequent as they are at hand.
    """
    shown, often = kinds(pictures), prior(pictures)
    predicted = np.zeros(len(pictures))
    for fold in range(3):
        held = np.arange(len(pictures)) % 3 == fold
        told = dict.fromkeys(often, 1.0) if even else None
        teacher = fit_picture_teacher(pictures.where(~held), told)
        predicted[held] = teacher.predict(face_statistics(pictures.where(held)))
    weights = np.array([often[kind] for kind in shown])
    right = np.where(shown == "happy", predicted > 0, predicted <= 0)
    kept = (shown == "happy") | np.isin(shown, NEGATIVE_FACES)
    share = np.average(right[kept], weights=weights[kept])
    error = np.sqrt(np.average((predicted - pictures.scores) ** 2, weights=weights))
    neutral = predicted[shown == "neutral"].mean()
    return f"{share:.3f} of {kept.sum()}, RMSE {error:.3f}, neutral faces {neutral:+.2f}"


def left_out(
    corpus: Corpus, fit: Callable[[Corpus], Teacher], measure: Callable[[Corpus], Statistics]
) -> str:
    """How actors that were left out of the fit are scored, and the mean scores of two emotions."""
    actors = corpus.speakers.astype(int)
    predicted = np.zeros(len(corpus), np.float32)
    for fold in range(FOLDS):
        held = (actors - 1) % FOLDS == fold
        predicted[held] = fit(corpus.where(~held)).predict(measure(corpus.where(held)))
    share = ordered_share(corpus.ids, predicted, NEGATIVE).share
    correlation = np.corrcoef(predicted, corpus.scores)[0, 1]
    neutral, happy = (predicted[kinds(corpus) == code].mean() for code in ("01", "03"))
    means = f"neutral {neutral:+.2f}, happy {happy:+.2f}"
    return f"corr {correlation:.3f}, pairs ordered {share:.1%}, {means}"


def voices_as_at_hand(corpus: Corpus) -> Teacher:
    """The voices' teacher, if emotions were as frequent as RAVDESS has them."""
    return fit_voice_teacher(corpus, dict.fromkeys(prior(corpus), 1.0))


def by(
    learner: RegressorMixin, measure: Callable[[Corpus], Statistics]
) -> Callable[[Corpus], Teacher]:
    """A way to fit a learner to what is measured."""

    def fit(corpus: Corpus) -> Teacher:
        teacher: Teacher = clone(learner).fit(measure(corpus), corpus.scores)
        return teacher

    return fit


def telling(
    network: Pipeline, measure: Callable[[Corpus], Statistics]
) -> Callable[[Corpus], Teacher]:
    """A way to fit a network that tells emotions apart by what is measured."""

    def fit(corpus: Corpus) -> Teacher:
        learner = ExpectedScore(clone(network))
        return learner.fit(measure(corpus), corpus.scores, kinds(corpus))

    return fit


def heard(share: int, *, chroma: bool) -> Callable[[Corpus], NDArray[np.float64]]:
    """The first of a voice's statistics, `share` a column; with chroma or without."""

    def measure(corpus: Corpus) -> NDArray[np.float64]:
        names = corpus.schema.audio_columns
        kept = [i for i, name in enumerate(names) if chroma or not name.startswith("chroma")]
        every = np.array([statistics(sample.audio[:, kept]) for sample in corpus.samples])
        return every[:, : share * len(kept)]

    return measure


def main() -> None:
    """Print a line a choice."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.feature_baselines", description=__doc__
    )
    parser.add_argument("--features", type=Path, default=Path("build/features"))
    options = parser.parse_args()
    pictures = load_corpus(options.features / "fer2013.npz").only(["video"])
    names = pictures.schema.video_columns
    units = [index for index, name in enumerate(names) if name.startswith("AU")]
    shape = [index for index, name in enumerate(names) if name.startswith("face_")]
    for label, columns in (("units", units), ("shape", shape), ("both", units + shape)):
        print(f"FER2013 valid, happy against negative, {label}: {smiles(pictures, columns)}")
    valid = pictures.split("valid")
    predicted = fit_picture_teacher(pictures.split("train")).predict(face_statistics(valid))
    found = smiles_told_apart(valid.ids, predicted)
    print(f"FER2013 valid, the teacher: {found[1]:.3f} of {found[0]}, balanced {found[2]:.3f}")
    for label, even in (("as at hand", True), ("as published", False)):
        found_out = as_published(pictures.split("train"), even=even)
        print(f"FER2013 train in thirds, emotions as frequent {label}: {found_out}")
    clips = load_corpus(options.features / "ravdess.npz")
    clips = clips.where(clips.speakers.astype(int) <= 16)
    for label, measure in (
        ("rows", heard(2, chroma=True)),
        ("and their changes", heard(4, chroma=True)),
        ("and their thirds", heard(7, chroma=True)),
        ("all without chroma", voice_statistics),
    ):
        fit = by(smooth_regression(measure(clips).shape[1]), measure)
        print(f"RAVDESS 1-16, voice, {label}: {left_out(clips, fit, measure)}")
    rooted = make_pipeline(FunctionTransformer(root), small_network())
    for label, fit in (
        ("support vectors", by(smooth_regression(17, strength=3.0), face_statistics)),
        ("forest", by(forest(), face_statistics)),
        ("network", telling(small_network(), face_statistics)),
        ("network of roots", telling(rooted, face_statistics)),
    ):
        print(f"RAVDESS 1-16, action units, {label}: {left_out(clips, fit, face_statistics)}")
    for label, fit in (
        ("one forest", by(forest(), joint_statistics)),
        ("one network", telling(small_network(), joint_statistics)),
    ):
        print(f"RAVDESS 1-16, both, {label}: {left_out(clips, fit, joint_statistics)}")
    for label, fit_teacher, measure in (
        ("voice, emotions as frequent as at hand", voices_as_at_hand, voice_statistics),
        ("voice", fit_voice_teacher, voice_statistics),
        ("action units", fit_face_teacher, face_statistics),
        ("both", fit_joint_teacher, joint_statistics),
    ):
        print(f"RAVDESS 1-16, {label}, the teacher: {left_out(clips, fit_teacher, measure)}")


if __name__ == "__main__":
    main()
