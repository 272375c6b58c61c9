"""Does the path gate mean anything? ``python -m benchmarks.path_gate_report``.

A line for each corpus and set of modalities: how the weight of the global path is spread over the
clips, how it goes with the length of the text and with the strength of the label, and what the
error becomes when the gate is taken from its clip: held at its mean, dealt out to other clips at
random, or put to one end. If the sample did not matter to the gate, the first two would change
nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from model.corpus import Corpus, load_corpus
from model.dpdf_lq import DPDFLQ
from model.path_gate import PathGate
from model.training.evaluate import Scorer, answer
from model.training.text_states import TextStates

CPU = torch.device("cpu")

Change = Callable[[Tensor], Tensor]
"""From a batch's weights of the global path (B,) to others."""


class ChangedGate(nn.Module):
    """A path gate whose weights are changed before the paths are fused."""

    def __init__(self, gate: PathGate, change: Change) -> None:
        super().__init__()
        self.gate = gate
        self.change = change

    def forward(self, f_global: Tensor, f_local: Tensor) -> tuple[Tensor, Tensor]:
        """As `PathGate.forward`."""
        weight = self.change(self.gate(f_global, f_local)[1][:, 0])
        weights = torch.stack([weight, 1 - weight], dim=1)
        return weights[:, :1] * f_global + weights[:, 1:] * f_local, weights


def error_with(
    model: DPDFLQ, gate: PathGate, corpus: Corpus, change: Change, scorer: Scorer
) -> float:
    """Mean absolute error of a model on a corpus with its gate changed."""
    model.path_gate = ChangedGate(gate, change)  # type: ignore[assignment]
    scores = answer(model, corpus.samples, device=CPU, scorer=scorer).scores
    model.path_gate = gate
    return float(np.abs(scores - corpus.scores).mean())


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Pearson's r, NaN where one side does not vary."""
    return float(np.corrcoef(a, b)[0, 1]) if min(a.std(), b.std()) > 0 else float("nan")


def report(model: DPDFLQ, gate: PathGate, corpus: Corpus, label: str) -> None:
    """Print one line."""
    # The gate is behind the encoders, which are therefore asked once.
    scorer = TextStates().score
    found = answer(model, corpus.samples, device=CPU, scorer=scorer)
    weight = found.path_gates[:, 0]
    tokens = np.array([len(sample.input_ids) for sample in corpus.samples], np.float64)
    dealt = np.random.default_rng(1)
    changes: dict[str, Change] = {
        "as it is": lambda w: w,
        "at its mean": lambda w: torch.full_like(w, float(weight.mean())),
        "dealt out": lambda w: torch.from_numpy(dealt.choice(weight, len(w))),
        "global alone": torch.ones_like,
        "local alone": torch.zeros_like,
    }
    errors = {
        name: error_with(model, gate, corpus, change, scorer) for name, change in changes.items()
    }
    print(
        f"{label:28} {weight.mean():.2f} ± {weight.std():.2f} ({weight.min():.2f} to "
        f"{weight.max():.2f})  r with tokens {correlation(weight, tokens):+.2f}, "
        f"|label| {correlation(weight, np.abs(corpus.scores)):+.2f}  MAE "
        + ", ".join(f"{name} {error:.3f}" for name, error in errors.items())
    )


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.path_gate_report", description=__doc__
    )
    parser.add_argument("--features", type=Path, default=Path("build/features"))
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument("--split", default="valid", help="of every corpus")
    options = parser.parse_args()
    corpora = {
        name: load_corpus(options.features / f"{name}.npz").split(options.split)
        for name in ("mosi", "mosei", "spoken", "ravdess")
    }
    model, _ = load_checkpoint(options.checkpoint, schema=corpora["mosi"].schema)
    gate = model.path_gate
    if gate is None:
        parser.error("this checkpoint has no path gate")
    whole = ("text", "audio", "video")
    shown: list[tuple[str, tuple[str, ...]]] = [
        *((name, ("text",)) for name in ("mosi", "mosei")),
        *(("spoken", chosen) for chosen in (("text",), whole)),
        *(("ravdess", chosen) for chosen in (("audio",), ("video",), whole)),
    ]
    for name, chosen in shown:
        report(model, gate, corpora[name].only(chosen), f"{name} {'+'.join(chosen)}")


if __name__ == "__main__":
    main()
