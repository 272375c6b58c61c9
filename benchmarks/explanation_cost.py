"""What an explained prediction costs: model time as a multiple of a plain prediction's.

    python -m benchmarks.explanation_cost

Plain and explained predictions of made-up clips take turns in one run, so that whatever else the
machine does meets both; the median of the ratios is printed. No clip is decoded.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from model.checkpoint import DEFAULT_CHECKPOINT
from model.inputs import Sample
from model.predictor import PRECISIONS, Predictor
from preprocessing.schema import feature_schema
from preprocessing.text import WordPiece

SHAPES = ((15, 20, 40), (30, 80, 100), (60, 150, 200), (120, 240, 300), (256, 500, 500))
"""Tokens, sound rows and face rows: a sentence of 4 s to the longest clip."""


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of a call (s)."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Print a line for each length."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.explanation_cost", description=__doc__
    )
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="float32", choices=list(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    schema = feature_schema(WordPiece().sha256)
    predictor = Predictor.load(
        options.checkpoint, schema=schema, device=options.device, precision=options.precision
    )
    random = np.random.default_rng(1)
    for tokens, sounds, faces in SHAPES:
        sample = Sample(
            random.integers(1000, 20_000, tokens),
            random.normal(size=(sounds, len(schema.audio_columns))).astype(np.float32),
            random.normal(size=(faces, len(schema.video_columns))).astype(np.float32),
        )
        times = np.array(
            [
                (
                    seconds_of(lambda s=sample: predictor.predict([s])),  # type: ignore[misc]
                    seconds_of(lambda s=sample: predictor.explain(s)),  # type: ignore[misc]
                )
                for _ in range(options.rounds + 2)
            ]
        )[2:]
        plain, explained = 1000 * np.median(times, axis=0)
        ratio = np.median(times[:, 1] / times[:, 0])
        print(
            f"{tokens:3} tokens, {sounds:3} + {faces:3} rows  plain {plain:6.1f} ms  "
            f"explained {explained:6.1f} ms  ratio {ratio:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
