"""A recipe of voices and faces on actors it never met: ``python -m benchmarks.held_out_actors``.

Two actors validate, too few to choose a recipe by. Here some of the training actors are held out
with them: teachers and corpora of `model.training.cues` are made of the others, the recipe learns
from these, and every validation is printed beside what the teachers themselves reach. Nothing of a
test split is read. Two recipes are compared by a run of each; how far two runs of one recipe differ
has not been measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from model.checkpoint import DEFAULT_CHECKPOINT
from model.corpus import Corpus, load_corpus, save_corpus
from model.training.clip_statistics import (
    Statistics,
    face_statistics,
    joint_statistics,
    voice_statistics,
)
from model.training.cue_teacher import (
    Teacher,
    fit_face_teacher,
    fit_joint_teacher,
    fit_voice_teacher,
)
from model.training.cues import cue_corpora
from model.training.ordering import NEGATIVE, ordered_share
from model.training.recipe import read_recipe
from model.training.train import train

HELD_OUT = (7, 8, 9, 10, 11, 12)

TEACHERS: tuple[tuple[str, Callable[[Corpus], Teacher], Callable[[Corpus], Statistics]], ...] = (
    ("audio", fit_voice_teacher, voice_statistics),
    ("video", fit_face_teacher, face_statistics),
    ("audio+video", fit_joint_teacher, joint_statistics),
)


def corpora(features: Path, out: Path, held_out: list[int]) -> Corpus:
    """Write the recipe's corpora to a folder; returns the actors' clips with their new splits."""
    clips = load_corpus(features / "ravdess.npz")
    clips = clips.where(clips.splits != "test")
    held = np.isin(clips.speakers.astype(int), held_out)
    clips = replace(clips, splits=np.where(held, "valid", clips.splits))
    pictures = load_corpus(features / "fer2013.npz")
    pictures = pictures.where(pictures.splits != "test")
    out.mkdir(parents=True, exist_ok=True)
    seen = pictures.split("train").only(["video"])
    for corpus in (clips, pictures, *cue_corpora(clips.split("train"), seen, seed=1)):
        save_corpus(out / f"{corpus.name}.npz", corpus)
    return clips


def line(label: str, correlation: float, error: float, ordered: float) -> str:
    """What is known of scores of the clips held out."""
    return f"{label}: corr {correlation:.3f}, MAE {error:.3f}, pairs ordered {ordered:.1%}"


def main() -> None:
    """Print the teachers' lines, then those of every validation of the run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.held_out_actors", description=__doc__
    )
    parser.add_argument(
        "recipe", type=Path, nargs="?", default=Path("model/training/recipes/cues.toml")
    )
    parser.add_argument("--out", type=Path, default=Path("build/runs/held_out_actors"))
    parser.add_argument("--features", type=Path, default=Path("build/features"))
    parser.add_argument("--held-out", type=int, nargs="+", default=list(HELD_OUT))
    options = parser.parse_args()
    clips = corpora(options.features, options.out / "features", options.held_out)
    known, held = clips.split("train"), clips.split("valid")
    for label, fit, measure in TEACHERS:
        scores = fit(known).predict(measure(held))
        correlation = float(np.corrcoef(scores, held.scores)[0, 1])
        error = float(np.abs(scores - held.scores).mean())
        ordered = ordered_share(held.ids, scores, NEGATIVE).share
        print(line(f"teacher, {label}", correlation, error, ordered), flush=True)
    # Without words the encoders do nothing: any will do.
    recipe = replace(read_recipe(options.recipe), start_from=str(DEFAULT_CHECKPOINT))
    train(recipe, options.out / "features", options.out, device=torch.device("cpu"))
    for entry in json.loads((options.out / "record.json").read_text())["history"]:
        for name, found in entry.items():
            if name.startswith("ravdess"):
                values = (found["corr"], found["mae"], found["negative_share"])
                print(line(f"step {entry['step']}, {name}", *values))


if __name__ == "__main__":
    main()
