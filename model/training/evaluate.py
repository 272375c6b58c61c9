"""Measure a checkpoint on feature files: ``python -m model.training.evaluate mosi:test ...``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from model.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from model.corpus import Corpus, cost, load_corpus
from model.dpdf_lq import ModelOutputs
from model.inputs import ModelInputs, Sample, collate
from model.intervals import Intervals
from model.training.metrics import Metrics, measure
from model.training.ordering import NEGATIVE, SAD_ANGRY, ordered_share, smiles_told_apart

Scorer = Callable[[Any, ModelInputs], ModelOutputs]
"""How a model is asked: `ask`, or `model.training.text_states.TextStates.score`."""


def ask(model: nn.Module, inputs: ModelInputs) -> ModelOutputs:
    """The model's own answer."""
    outputs: ModelOutputs = model(inputs)
    return outputs


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
    model: nn.Module,
    samples: Sequence[Sample],
    *,
    device: torch.device,
    batch_size: int = 64,
    scorer: Scorer = ask,
) -> Answers:
    """Run a model in evaluation mode over samples (at least one), in their order."""
    order: list[int] = []
    outputs: list[ModelOutputs] = []
    for chosen in batches_by_length(samples, batch_size):
        order += chosen
        outputs.append(scorer(model, collate([samples[i] for i in chosen]).to(device)).cpu())
    back = np.argsort(order)
    return Answers(
        torch.cat([o.score for o in outputs]).numpy()[back],
        torch.cat([o.path_gate for o in outputs]).numpy()[back],
        torch.cat([o.layer_gates for o in outputs]).numpy()[back],
    )


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
        for name, against in (("sad_angry", SAD_ANGRY), ("negative", NEGATIVE)):
            pairs = ordered_share(corpus.ids, answers.scores, against)
            values |= {f"{name}_{key}": value for key, value in asdict(pairs).items()}
    if corpus.name == "fer2013":
        names = ("smile_pictures", "smile_accuracy", "smile_balanced_accuracy")
        values |= dict(zip(names, smiles_told_apart(corpus.ids, answers.scores), strict=True))
    return values


def interval_report(intervals: Intervals, corpus: Corpus, answers: Answers) -> dict[str, object]:
    """Share of the labels inside the intervals, and the intervals' mean width (scale points).

    Clips with modalities that have no rule are left out.
    """
    rules = [intervals.get(sample.modalities) for sample in corpus.samples]
    calibrated = np.array([rule is not None for rule in rules])
    if not calibrated.any():
        return {}
    ends = np.array(
        [r.around(float(s)) for r, s in zip(rules, answers.scores, strict=True) if r is not None]
    )
    labels = corpus.scores[calibrated]
    inside = (ends[:, 0] <= labels + 1e-6) & (labels - 1e-6 <= ends[:, 1])
    return {"covered": float(inside.mean()), "interval_width": float(np.ptp(ends, axis=1).mean())}


def spread(lines: Sequence[Mapping[str, object]]) -> dict[str, list[float]]:
    """Mean and standard deviation (n - 1) of each number that all of two or more lines have."""
    shared = set(lines[0]).intersection(*lines)
    numbers = [n for n, v in lines[0].items() if n in shared and isinstance(v, int | float)]
    values = {name: np.array([line[name] for line in lines], np.float64) for name in numbers}
    return {name: [float(v.mean()), float(v.std(ddof=1))] for name, v in values.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a JSON line a checkpoint, corpus and modality choice.

    Of several checkpoints, as the seeds of a recipe, also their `spread`.
    """
    parser = argparse.ArgumentParser(prog="python -m model.training.evaluate", description=__doc__)
    parser.add_argument("corpora", nargs="+", help="feature file and split, e.g. mosi:test")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        help="default: the shipped one; of several, mean and standard deviation as well",
    )
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
    jobs: list[tuple[str, str, Corpus]] = []
    for choice in options.corpora:
        name, _, split = choice.partition(":")
        corpus = load_corpus(options.features / f"{name}.npz")
        for modalities in options.modalities:
            try:
                seen = corpus.split(split or "test").only(modalities.split("+"))
            except ValueError as error:
                parser.error(str(error))
            if not len(seen):
                parser.error(
                    f"{choice} has no item with {modalities}; {name}.npz has the splits "
                    f"{', '.join(np.unique(corpus.splits))}"
                )
            jobs.append((choice, modalities, seen))
    lines: dict[tuple[str, str], list[dict[str, object]]] = {}
    checkpoints = options.checkpoint or [DEFAULT_CHECKPOINT]
    for path in checkpoints:
        model, header = load_checkpoint(path, schema=jobs[0][2].schema)
        model.to(device)
        for choice, modalities, seen in tqdm(jobs, desc=path.stem, disable=None):
            answers = answer(model, seen.samples, device=device)
            line = {"corpus": choice, "modalities": modalities} | report(seen, answers)
            if header.intervals:
                line |= interval_report(header.intervals, seen, answers)
            sys.stdout.write(json.dumps(line) + "\n")
            lines.setdefault((choice, modalities), []).append(line)
    if len(checkpoints) > 1:
        for (choice, modalities), measured in lines.items():
            line = {"corpus": choice, "modalities": modalities, "checkpoints": len(measured)}
            sys.stdout.write(json.dumps(line | spread(measured)) + "\n")


if __name__ == "__main__":
    main()
