"""The model in float32 and in bfloat16: how far scores move, what it costs, what it saves.

float32 is timed by MKL and by oneDNN, whichever of them serves here (`model/onednn.py`).

``python -m benchmarks.precisions`` (a minute) needs ``build/features``. Accuracy on validation
splits, as this is a choice; time of one forward with one thread, both in turns, medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from model import onednn
from model.checkpoint import DEFAULT_CHECKPOINT
from model.corpus import load_corpus
from model.inputs import Sample
from model.predictor import Predictor
from model.training.metrics import measure

BATCH = 16
TURNS = 15


def scores(predictor: Predictor, samples: list[Sample]) -> NDArray[np.float64]:
    """(n,) raw scores."""
    found = []
    for start in range(0, len(samples), BATCH):
        found += predictor.predict(samples[start : start + BATCH])
    return np.array([one.raw_score for one in found])


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precisions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--features", type=Path, default=Path("build/features"))
    parser.add_argument("--corpora", nargs="+", default=["mosi", "mosei", "ravdess"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    # Of several cores the model would use two (`benchmarks/paths_at_once.py`).
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    corpora = {
        name: load_corpus(options.features / f"{name}.npz").split("valid")
        for name in options.corpora
    }
    schema = next(iter(corpora.values())).schema
    load = partial(Predictor.load, DEFAULT_CHECKPOINT, schema=schema, device="cpu")
    exact, half = load(), load(precision="bfloat16")
    print("| validation | n | MAE, float32 | MAE, bfloat16 | scores differ by | at most |")
    print("|---|---|---|---|---|---|")
    for name, corpus in corpora.items():
        samples = list(corpus.samples)
        one, other = scores(exact, samples), scores(half, samples)
        errors = [measure(found, corpus.scores).mae for found in (one, other)]
        apart = np.abs(one - other)
        cells = (*errors, float(apart.mean()), float(apart.max()))
        print(f"| {name} | {len(samples)} | {' | '.join(f'{cell:.4f}' for cell in cells)} |")
    with mock.patch.object(onednn, "is_intel", return_value=True):
        by_mkl = load()
    with mock.patch.object(onednn, "is_intel", return_value=False):
        by_onednn = load()
    kinds = {"float32, MKL": by_mkl, "float32, oneDNN": by_onednn, "bfloat16": half}
    print(f"\n| clips a batch | {' | '.join(f'{kind} (ms)' for kind in kinds)} |")
    print("|---|---|---|---|")
    clips = list(corpora["ravdess"].samples)
    for size in (1, 2, 4, 8):
        spent: dict[str, list[float]] = {kind: [] for kind in kinds}
        for turn in range(TURNS + 1):
            for kind, predictor in kinds.items():
                started = time.perf_counter()
                predictor.predict(clips[:size])
                # The first turn warms all.
                if turn:
                    spent[kind].append(1000 * (time.perf_counter() - started))
        medians = (statistics.median(times) for times in spent.values())
        print(f"| {size} | {' | '.join(f'{median:.1f}' for median in medians)} |")


if __name__ == "__main__":
    main()
