"""The model's two paths in turn and side by side: wall time, and processor time.

``python -m benchmarks.paths_at_once`` (a minute, two cores): forwards of made-up clips of 6 s
with 24 tokens, and one that is explained; in turn with one thread, with two threads inside every
operation, and with a thread a path (`model/side_by_side.py`), in turns, medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from unittest import mock

import numpy as np
import torch

from model import predictor as serving
from model.checkpoint import DEFAULT_CHECKPOINT
from model.inputs import FeatureSchema, Sample
from model.predictor import Predictor
from preprocessing.features import default_tokenizer
from preprocessing.schema import feature_schema

BATCHES = (1, 2, 4, 8, 16)
WARM, ROUNDS = 5, 5
"""Forwards in a row: OpenMP's threads look for more work for a while, at the next way's cost."""

REST_SECONDS = 0.1
"""As the model rests in a service while the features of its next clip are made."""

TOKENS, SOUNDS, FACES = 24, 60, 60


def made_up(count: int, schema: FeatureSchema) -> list[Sample]:
    """Clips of noise."""
    random = np.random.default_rng(1)
    return [
        Sample(
            random.integers(1000, 20_000, TOKENS),
            random.normal(size=(SOUNDS, len(schema.audio_columns))).astype(np.float32),
            random.normal(size=(FACES, len(schema.video_columns))).astype(np.float32),
        )
        for _ in range(count)
    ]


def milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time of a call (ms)."""
    started, spent = time.perf_counter(), time.process_time()
    work()
    return 1000 * (time.perf_counter() - started), 1000 * (time.process_time() - spent)


def main() -> None:
    """Print a row a size of batch."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paths_at_once", description=__doc__)
    parser.add_argument("--turns", type=int, default=4)
    options = parser.parse_args()
    schema = feature_schema(default_tokenizer().sha256)
    load = partial(Predictor.load, DEFAULT_CHECKPOINT, schema=schema, device="cpu")
    torch.set_num_threads(1)
    with mock.patch.object(os, "sched_getaffinity", return_value={0}):
        in_turn = load()
    side_by_side = load()
    ways = {
        "in turn": (in_turn, 1),
        "two threads an operation": (in_turn, 2),
        "side by side": (side_by_side, 1),
    }
    print("| clips | " + " | ".join(f"{way} (ms)" for way in ways) + " | of the processor (ms) |")
    print("|---|" + "---|" * (len(ways) + 1))
    with mock.patch.object(serving, "FEW", max(BATCHES)):
        works: dict[str, Callable[[Predictor], object]] = {
            str(size): partial(Predictor.predict, samples=made_up(size, schema)) for size in BATCHES
        }
        works["1, after a rest"] = works["1"]
        works["1, explained"] = partial(Predictor.explain, sample=made_up(1, schema)[0])
        for name, work in works.items():
            times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
            for _ in range(options.turns):
                for way, (predictor, threads) in ways.items():
                    torch.set_num_threads(threads)
                    found = []
                    for _ in range(WARM + ROUNDS):
                        if "rest" in name:
                            time.sleep(REST_SECONDS)
                        found.append(milliseconds(partial(work, predictor)))
                    times[way] += found[WARM:]
            walls, spent = (
                [statistics.median(pair[i] for pair in pairs) for pairs in times.values()]
                for i in (0, 1)
            )
            cells = [*(f"{wall:.1f}" for wall in walls), ", ".join(f"{s:.1f}" for s in spent)]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
