"""Give a checkpoint its intervals: ``python -m model.training.calibrate CHECKPOINT``.

Split conformal prediction on validation data (see `model.intervals`), with a rule for each set of
modalities. Clips with words are calibrated on MOSI and MOSEI, of which the words are at hand; of
other corpora only the modalities of the set are shown. Clips without words are calibrated on
RAVDESS's validation actors. Corpora weigh the same whatever their sizes.

Words alone cannot tell what a voice and a face would have added. With ``--joined spoken`` a tenth
of the weight goes to sentences with acted voices and faces, of which the set's modalities are
shown: what is missing there widens the rule.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint, save_checkpoint
from model.config import MODALITIES
from model.corpus import Corpus, load_corpus
from model.intervals import COVERAGE, IntervalRule
from model.training.evaluate import answer
from model.training.text_states import TextStates

Scores = NDArray[np.float32]

LEAST_SAMPLES = round(COVERAGE / (1 - COVERAGE))
"""With fewer validation samples no error is rare enough to bound the wanted share."""

SLOPES = np.linspace(0.0, 1.0, 21)
"""Candidates for s."""

JOINED_SHARE = 0.1
"""Weight of the joined sentences: a choice. Few clips have a voice and face that outdo words."""


def fit_rule(
    scores: Sequence[NDArray[np.floating]],
    labels: Sequence[NDArray[np.floating]],
    *,
    shares: Sequence[float] | None = None,
    slopes: Sequence[float] | NDArray[np.floating] = SLOPES,
) -> IntervalRule:
    """The rule with the least mean half width among those that cover each corpus most evenly.

    Args:
        scores: (n,) unclipped scores, an array a corpus.
        labels: (n,) likewise.
        shares: weight of each corpus; None = all weigh the same.
        slopes: candidates for s.

    Returns:
        c is the weighted conformal quantile; s is the candidate for which the coverage of the
        corpora differs least.
    """
    score, label = np.concatenate(scores), np.concatenate(labels)
    weight = np.concatenate(
        [
            np.full(len(part), share / len(part))
            for part, share in zip(scores, shares or [1.0] * len(scores), strict=True)
        ]
    )
    best = IntervalRule(width=np.inf, slope=0.0, samples=len(score))
    least = np.inf
    for slope in slopes:
        scale = 1 + slope * np.abs(score)
        width = _quantile(np.abs(score - label) / scale, weight / weight.sum())
        covered = np.abs(score - label) <= width * scale
        unevenness = np.ptp([part.mean() for part in _split(covered, scores)])
        if unevenness < least - 1e-9:
            least, best = unevenness, replace(best, width=width, slope=float(slope))
    return best


def _quantile(errors: NDArray[np.floating], weights: NDArray[np.floating]) -> float:
    """Least error below which lies the covered share of the weight, one sample's beside it."""
    order = np.argsort(errors)
    reached = np.cumsum(weights[order]) / (1 + weights.max())
    place = min(int(np.searchsorted(reached, COVERAGE)), len(errors) - 1)
    return float(errors[order[place]])


def _split(
    values: NDArray[np.bool_], parts: Sequence[NDArray[np.floating]]
) -> list[NDArray[np.bool_]]:
    return np.split(values, np.cumsum([len(part) for part in parts])[:-1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Calibrate from the command line; a JSON line a set of modalities."""
    parser = argparse.ArgumentParser(prog="python -m model.training.calibrate", description=__doc__)
    parser.add_argument("checkpoint", type=Path, nargs="?", default=DEFAULT_CHECKPOINT)
    parser.add_argument("--features", type=Path, default=Path("build/features"))
    parser.add_argument("--words", nargs="+", default=["mosi", "mosei"], help="corpora with words")
    parser.add_argument("--other", nargs="+", default=["ravdess"], help="for clips without words")
    parser.add_argument(
        "--joined", nargs="*", default=[], help="sentences with other people's voices and faces"
    )
    options = parser.parse_args(arguments)
    loaded = {
        name: load_corpus(options.features / f"{name}.npz").split("valid")
        for name in (*options.words, *options.other, *options.joined)
    }
    schema = loaded[options.words[0]].schema
    model, header = load_checkpoint(options.checkpoint, schema=schema)
    texts = TextStates()

    def scored(names: Sequence[str], modalities: Sequence[str]) -> list[tuple[Scores, Scores]]:
        """Scores (n,) and labels (n,) of each corpus that has some of the modalities."""
        corpora: list[Corpus] = [loaded[name].only(modalities) for name in names]
        cpu = torch.device("cpu")
        return [
            (answer(model, c.samples, device=cpu, scorer=texts.score).scores, c.scores)
            for c in corpora
            if len(c)
        ]

    def rule_for(
        names: Sequence[str], joined: Sequence[str], modalities: Sequence[str]
    ) -> IntervalRule | None:
        own = scored(names, modalities)
        if sum(len(labels) for _, labels in own) < LEAST_SAMPLES:
            return None
        rule = fit_rule(*zip(*own, strict=True))
        if not joined:
            return rule
        beside = scored(joined, modalities)
        shares = [(1 - JOINED_SHARE) / len(own)] * len(own)
        shares += [JOINED_SHARE / len(beside)] * len(beside)
        return fit_rule(*zip(*own, *beside, strict=True), shares=shares, slopes=[rule.slope])

    intervals: dict[frozenset[str], IntervalRule] = {}
    for size in (1, 2, 3):
        for chosen in combinations(MODALITIES, size):
            with_words = "text" in chosen
            rule = rule_for(
                options.words if with_words else options.other,
                options.joined if with_words else [],
                chosen,
            )
            line: dict[str, object] = {"modalities": "+".join(chosen)}
            if rule is None:
                line["no_interval"] = f"fewer than {LEAST_SAMPLES} validation samples"
            else:
                intervals[frozenset(chosen)] = rule
                line |= asdict(rule)
            sys.stdout.write(json.dumps(line) + "\n")
    save_checkpoint(options.checkpoint, model, replace(header, intervals=intervals))


if __name__ == "__main__":
    main()
