"""How far scores with our facial columns are from scores with OpenFace's own.

    python -m benchmarks.openface_scores [--pairs FOLDER] [--checkpoint FILE]

Each pair of clip and OpenFace file (`benchmarks.openface_concordance`) is scored twice with the
same words and sound: with the built-in tracker, and with the file in its place, as `POST /predict`
does with the part ``openface``. What is said in the clips is not known here, so that each is scored
with three sentences of ours. Two of the files have no landmarks; the model then has no shape of the
face, which the built-in tracker gives: their columns are compared as they are and also with the
shape taken away on our side ("units alone").
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.openface_concordance import PAIRS_FOLDER, Pair, find_pairs
from model.checkpoint import DEFAULT_CHECKPOINT
from model.inputs import Sample
from model.predictor import Predictor
from preprocessing.features import default_tokenizer, extract
from preprocessing.openface_columns import GROUPS, INDEX
from preprocessing.schema import feature_schema
from preprocessing.tensors import to_sample

SENTENCES = (
    "I really loved it, it was wonderful.",
    "We met on Tuesday and talked about the plan.",
    "It was a waste of time and I hated it.",
)
"""Clearly positive, neutral, clearly negative."""


def samples(pair: Pair) -> dict[str, list[Sample]]:
    """The pair with each sentence, by whose columns they hold."""
    schema = feature_schema(default_tokenizer().sha256)
    clip, csv = pair.clip.read_bytes(), pair.csv.read_bytes()
    found: dict[str, list[Sample]] = {"ours": [], "ours, units alone": [], "openface": []}
    for sentence in SENTENCES:
        built_in = extract(clip, sentence)
        found["ours"].append(to_sample(built_in, schema))
        if built_in.face is None:
            raise ValueError(f"{pair.name}: the built-in tracker saw no picture.")
        for part in GROUPS:
            if part.name == "landmarks_3d":
                built_in.face.values[:, [INDEX[name] for name in part.columns]] = np.nan
        found["ours, units alone"].append(to_sample(built_in, schema))
        found["openface"].append(to_sample(extract(clip, sentence, openface_csv=csv), schema))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the scores of every pair and the mean differences."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.openface_scores", description=__doc__
    )
    parser.add_argument("--pairs", type=Path, default=PAIRS_FOLDER)
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT)
    options = parser.parse_args(arguments)
    pairs = find_pairs(options.pairs)
    if not pairs:
        print("No OpenFace pairs here: give their folder with --pairs. Nothing was measured.")
        return
    predictor = Predictor.load(
        options.checkpoint, device="cpu", schema=feature_schema(default_tokenizer().sha256)
    )
    differences: dict[str, list[float]] = {}
    for pair in pairs:
        scores = {
            whose: np.clip([p.raw_score for p in predictor.predict(of)], -3, 3)
            for whose, of in samples(pair).items()
        }
        print(pair.name)
        for whose, values in scores.items():
            gap = float(np.abs(values - scores["openface"]).mean())
            differences.setdefault(whose, []).append(gap)
            print(f"  {whose:20}", *(f"{v:+6.2f}" for v in values), f" differ by {gap:.2f}")
    for whose in ("ours", "ours, units alone"):
        print(f"mean of {len(pairs)} pairs, {whose}: {np.mean(differences[whose]):.2f}")


if __name__ == "__main__":
    main()
