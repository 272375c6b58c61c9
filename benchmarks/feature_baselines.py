"""What simple learners get out of our features: ``python -m benchmarks.feature_baselines``.

The yardstick for the model, and the reason for two choices: the shape of the face beside its action
units, and the change from row to row beside the rows of a voice. Nothing of a test split is read:
faces are judged on FER2013's validation pictures, voices by cross-validation over RAVDESS's actors
1-16.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from model.training.datasets import Corpus, load_corpus
from model.training.ordering import NEGATIVE, NEGATIVE_FACES, ordered_share
from model.training.voice_teacher import regression, statistics

FOLDS = 8


def smiles(corpus: Corpus, columns: list[int]) -> float:
    """Accuracy of a support vector machine on validation faces: happy against negative ones."""
    emotions = np.array([str(name).split("-")[0] for name in corpus.ids])
    found = np.array([len(sample.video) > 0 for sample in corpus.samples])
    kept = corpus.where(found & np.isin(emotions, ("happy", *NEGATIVE_FACES)))
    faces = np.array([sample.video[0, columns] for sample in kept.samples], np.float64)
    happy = np.array([str(name).startswith("happy-") for name in kept.ids])
    train, valid = kept.splits == "train", kept.splits == "valid"
    machine = make_pipeline(
        StandardScaler(),
        PCA(min(60, len(columns)), random_state=0),
        SVC(C=6.0, class_weight="balanced"),
    )
    machine.fit(faces[train], happy[train])
    return float(np.mean(machine.predict(faces[valid]) == happy[valid]))


def voices(corpus: Corpus, *, changes: bool, chroma: bool) -> tuple[float, float]:
    """Correlation with the valence, and share of ordered pairs, on actors left out of the fit."""
    actors = corpus.speakers.astype(int)
    corpus = corpus.where(actors <= 16)
    actors = actors[actors <= 16]
    names = corpus.schema.audio_columns
    heard = [i for i, name in enumerate(names) if chroma or not name.startswith("chroma")]
    clips = np.array([statistics(sample.audio[:, heard]) for sample in corpus.samples])
    if not changes:
        clips = clips[:, : 2 * len(heard)]
    predicted = np.zeros(len(corpus), np.float32)
    for fold in range(FOLDS):
        held = (actors - 1) % FOLDS == fold
        machine = regression(clips.shape[1]).fit(clips[~held], corpus.scores[~held])
        predicted[held] = machine.predict(clips[held])
    share = ordered_share(corpus.ids, predicted, NEGATIVE).share
    return float(np.corrcoef(predicted, corpus.scores)[0, 1]), share


def main() -> None:
    """Print a line a choice of features."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.feature_baselines", description=__doc__
    )
    parser.add_argument("--features", type=Path, default=Path("build/features"))
    options = parser.parse_args()
    faces = load_corpus(options.features / "fer2013.npz")
    names = faces.schema.video_columns
    units = [index for index, name in enumerate(names) if name.startswith("AU")]
    shape = [index for index, name in enumerate(names) if name.startswith("face_")]
    for label, columns in (("units", units), ("shape", shape), ("both", units + shape)):
        print(f"FER2013 valid, happy against negative, {label}: {smiles(faces, columns):.3f}")
    heard = load_corpus(options.features / "ravdess.npz").only(["audio"])
    for label, changes, chroma in (
        ("rows", False, True),
        ("rows and their changes", True, True),
        ("the same without chroma", True, False),
    ):
        correlation, share = voices(heard, changes=changes, chroma=chroma)
        print(f"RAVDESS actors 1-16, {label}: corr {correlation:.2f}, pairs ordered {share:.1%}")


if __name__ == "__main__":
    main()
