"""Do voice and face leave clear words alone, and move neutral ones.

``python -m benchmarks.words_and_cues``. Sentences of CMU-MOSI's test split are given voices and
faces of RAVDESS's test actors, which no training clip had together. Printed is how far the score
moves from that of the words alone:

* clear sentences (|label| at least 1.5) with neutral voices and faces: |change|, to be small;
* neutral sentences (|label| at most 0.5) with strong happy, and with strong angry, voices and
  faces: the signed change, to be up and down.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from model.corpus import Corpus, load_corpus
from model.dpdf_lq import DPDFLQ
from model.inputs import Sample
from model.training.evaluate import answer

CUES = (("audio", "video"), ("audio",), ("video",))
NEUTRAL, HAPPY, ANGRY, STRONG = "01", "03", "05", "02"


def acted(corpus: Corpus, emotion: str, *, strong: bool) -> list[Sample]:
    """RAVDESS clips of one emotion; RAVDESS has no strong neutral ones."""
    codes = [str(name).split("-") for name in corpus.ids]
    kept = [c[2] == emotion and (c[3] == STRONG or not strong) for c in codes]
    return corpus.where(np.array(kept)).samples


def changes(
    model: DPDFLQ, words: list[Sample], cues: list[Sample], given: tuple[str, ...], seed: int
) -> NDArray[np.float32]:
    """(n,) how the score of each sentence changes when a random clip's cues come with it."""
    random = np.random.default_rng(seed)
    chosen = [cues[i] for i in random.integers(len(cues), size=len(words))]
    joined = [
        replace(word, **{name: getattr(cue, name) for name in given})
        for word, cue in zip(words, chosen, strict=True)
    ]
    cpu = torch.device("cpu")
    before, after = (answer(model, samples, device=cpu).scores for samples in (words, joined))
    return np.asarray(np.clip(after, -3, 3) - np.clip(before, -3, 3))


def main() -> None:
    """Print a line a combination."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.words_and_cues", description=__doc__
    )
    parser.add_argument("--features", type=Path, default=Path("build/features"))
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument("--split", default="test", help="of both corpora")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    mosi = load_corpus(options.features / "mosi.npz").split(options.split)
    actors = load_corpus(options.features / "ravdess.npz").split(options.split)
    model, _ = load_checkpoint(options.checkpoint, schema=mosi.schema)
    clear = mosi.where(np.abs(mosi.scores) >= 1.5).samples
    dull = mosi.where(np.abs(mosi.scores) <= 0.5).samples
    for given in CUES:
        label = "+".join(given)
        moved = np.abs(
            changes(model, clear, acted(actors, NEUTRAL, strong=False), given, options.seed)
        )
        print(f"{label:12} neutral, {len(clear)} clear sentences: moved by {moved.mean():.2f}")
        for name, emotion in (("happy", HAPPY), ("angry", ANGRY)):
            change = changes(model, dull, acted(actors, emotion, strong=True), given, options.seed)
            print(
                f"{label:12} {name}, {len(dull)} neutral sentences: {change.mean():+.2f} on "
                f"average, {np.mean(change > 0):.0%} up"
            )


if __name__ == "__main__":
    main()
