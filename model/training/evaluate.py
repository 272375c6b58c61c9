"""Measure a checkpoint on feature files: ``python -m model.training.evaluate mosi:test ...``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from model.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from model.dpdf_lq import DPDFLQ
from model.inputs import Sample, collate
from model.training.datasets import Corpus, cost, load_corpus
from model.training.metrics import Metrics, measure
from model.training.ordering import ordered_share


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's answers on n samples.

    Attributes:
        scores: (n,) unclipped.
        path_gates: (n, 2) weights of the global and local path.
        layer_gates: (n, layers, 3) weights of text, audio and video.
    """

    scores: NDArray[np.float32]
    path_gates: NDArray[np.float32]
    layer_gates: NDArray[np.float32]


def batches_by_length(samples: Sequence[Sample], size: int) -> Iterator[list[int]]:
    """Indices in batches of clips of like length, so that little is padded."""
    order = sorted(range(len(samples)), key=lambda i: cost(samples[i]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


@torch.inference_mode()
def answer(
    model: DPDFLQ, samples: Sequence[Sample], *, device: torch.device, batch_size: int = 64
) -> Answers:
    """Run a model in evaluation mode over samples (float32), in their order."""
    layers = model.config.query_depth
    result = Answers(
        np.zeros(len(samples), np.float32),
        np.zeros((len(samples), 2), np.float32),
        np.zeros((len(samples), layers, 3), np.float32),
    )
    for chosen in batches_by_length(samples, batch_size):
        outputs = model(collate([samples[i] for i in chosen]).to(device)).cpu()
        result.scores[chosen] = outputs.score
        result.path_gates[chosen] = outputs.path_gate
        if outputs.layer_gates.shape[1]:
            result.layer_gates[chosen] = outputs.layer_gates
    return result


def report(corpus: Corpus, answers: Answers) -> dict[str, object]:
    """Metrics and gate statistics of one corpus as plain values."""
    metrics: Metrics = measure(answers.scores, corpus.scores)
    weights = answers.path_gates[:, 0]
    values: dict[str, object] = {
        "n": len(corpus),
        **asdict(metrics),
        "global_weight_mean": float(weights.mean()),
        "global_weight_std": float(weights.std()),
    }
    if corpus.name == "ravdess":
        pairs = ordered_share(corpus.ids, answers.scores)
        values |= {"pairs": pairs.pairs, "pairs_ordered": pairs.share}
        values |= {"pairs_across_actors": pairs.pairs_across, "ordered_across": pairs.share_across}
    return values


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a JSON line a corpus and modality choice."""
    parser = argparse.ArgumentParser(prog="python -m model.training.evaluate", description=__doc__)
    parser.add_argument("corpora", nargs="+", help="feature file and split, e.g. mosi:test")
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument("--features", type=Path, default=Path("build/features"))
    parser.add_argument(
        "--modalities",
        nargs="+",
        default=["text+audio+video"],
        help="which modalities the model is given, e.g. text audio audio+video",
    )
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    corpora = []
    for choice in options.corpora:
        name, _, split = choice.partition(":")
        corpora.append(
            (choice, load_corpus(options.features / f"{name}.npz").split(split or "test"))
        )
    schema = corpora[0][1].schema
    model, _ = load_checkpoint(options.checkpoint, schema=schema)
    model.to(device)
    jobs = [(c, m) for c in corpora for m in options.modalities]
    for (choice, corpus), modalities in tqdm(jobs, desc="evaluate", disable=None):
        seen = corpus.only(modalities.split("+"))
        answers = answer(model, seen.samples, device=device)
        line = {"corpus": choice, "modalities": modalities} | report(seen, answers)
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
