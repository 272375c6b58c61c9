"""Do the words that an explanation names matter? A deletion test against words drawn at random.

    python -m benchmarks.explanation_deletion --data ../shared/data

From each text the k words of the largest changes are taken away, and the score is computed again;
the same for k words at random (the mean of several draws), and for the k words whose single
removal changes the score most, which is the most that looking at words one by one can find, at a
forward for each word. Text alone: MOSI has no footage here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import DEFAULT_CHECKPOINT
from model.explanation import sum_spans
from model.inputs import FeatureSchema, Sample
from model.predictor import Predictor
from preprocessing.corpora import mosi
from preprocessing.schema import feature_schema
from preprocessing.text import Word, WordPiece

DRAWS = 8
"""Random choices whose mean a text's random deletion is."""

BATCH = 32

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Deletions:
    """Mean absolute change of the score by taking k words away, over texts of more than k words.

    Attributes:
        texts: how many there are.
        named: by the words of the largest changes.
        random: by random words.
        single: by the words whose single removal changes most.
        won: share of the texts in which the named words change more than random ones.
        agreement: mean correlation, over the texts, of the changes with single removals.
    """

    texts: int
    named: float
    random: float
    single: float
    won: float
    agreement: float


def measure(predictor: Predictor, texts: Iterable[str], k: int) -> Deletions:
    """Run the test.

    Args:
        predictor: the weights.
        texts: those with at most k words are left out.
        k: words taken away.
    """
    tokenizer = WordPiece()
    random = np.random.default_rng(1)
    changes, won, agreement = [], [], []
    for text in texts:
        words = tokenizer.words(text)
        if len(words) <= k:
            continue
        ids = tokenizer.encode(text).input_ids
        prediction, explanation = predictor.explain(_words_alone(ids, predictor.schema))
        spans = [(word.first_token, word.end_token) for word in words]
        named = np.array(sum_spans(explanation.tokens, spans))
        single = prediction.raw_score - _without(predictor, ids, [[word] for word in words])
        chosen = [_largest(named, k), _largest(single, k)]
        chosen += [random.choice(len(words), k, replace=False) for _ in range(DRAWS)]
        left = _without(predictor, ids, [[words[i] for i in indices] for indices in chosen])
        change = np.abs(prediction.raw_score - left)
        changes.append((change[0], change[1], change[2:].mean()))
        won.append(change[0] > change[2:].mean())
        if min(named.std(), single.std()) > 0:
            agreement.append(np.corrcoef(named, single)[0, 1])
    by_name, by_single, by_chance = np.mean(changes, axis=0)
    return Deletions(
        len(changes),
        float(by_name),
        float(by_chance),
        float(by_single),
        float(np.mean(won)),
        float(np.mean(agreement)),
    )


def _largest(values: Floats, k: int) -> NDArray[np.intp]:
    return np.argsort(-np.abs(values), kind="stable")[:k]


def _words_alone(ids: NDArray[np.int64], schema: FeatureSchema) -> Sample:
    return Sample(
        ids,
        np.empty((0, len(schema.audio_columns)), np.float32),
        np.empty((0, len(schema.video_columns)), np.float32),
    )


def _without(predictor: Predictor, ids: NDArray[np.int64], groups: list[list[Word]]) -> Floats:
    """The score of a text without each group of words."""
    samples = []
    for group in groups:
        keep = np.ones(len(ids), np.bool_)
        for word in group:
            keep[word.first_token : word.end_token] = False
        samples.append(_words_alone(ids[keep], predictor.schema))
    return np.array(
        [
            prediction.raw_score
            for start in range(0, len(samples), BATCH)
            for prediction in predictor.predict(samples[start : start + BATCH])
        ]
    )


def main() -> None:
    """Print a line for each k."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.explanation_deletion", description=__doc__
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--texts", type=int, help="the first so many; all if not given")
    parser.add_argument("-k", type=int, nargs="+", default=[1, 3])
    options = parser.parse_args()
    schema = feature_schema(WordPiece().sha256)
    predictor = Predictor.load(options.checkpoint, schema=schema, device=options.device)
    texts = [item.text for item in mosi(options.data) if item.split == "valid" and item.text]
    for k in options.k:
        found = measure(predictor, texts[: options.texts], k)
        print(
            f"k = {k}, {found.texts} texts of MOSI's validation split: named words change the "
            f"score by {found.named:.2f}, random ones by {found.random:.2f}, the best by single "
            f"removal {found.single:.2f}; named beat random in {found.won:.0%}; r with single "
            f"removals {found.agreement:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
