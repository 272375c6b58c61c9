"""Train a checkpoint: ``python -m model.training.train RECIPE.toml --out build/runs/NAME``.

A run that was stopped goes on where it was when the same command is given again. Beside the weights
it leaves ``record.json`` (recipe, data hashes, every validation) and ``curve.png``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from model.checkpoint import CheckpointError, file_sha256
from model.corpus import Corpus, load_corpus
from model.dpdf_lq import DPDFLQ
from model.predictor import choose_device
from model.training.batches import Part
from model.training.datasets import Augmentation, Spread
from model.training.evaluate import Scorer, answer, ask, report
from model.training.loop import Progress, Run
from model.training.recipe import CorpusUse, Recipe, RecipeError, read_recipe
from model.training.start import (
    encoders_of,
    fit_standardisation,
    kept_in_evaluation,
    parameter_groups,
    starting_model,
)
from model.training.teacher import load_taught
from model.training.text_states import TextStates


def validate(
    model: nn.Module,
    corpora: Sequence[tuple[CorpusUse, Corpus]],
    device: torch.device,
    scorer: Scorer = ask,
) -> tuple[float, dict[str, dict[str, object]]]:
    """The weighted validation MAE, and every corpus's metrics."""
    model.eval()
    reports, total, weights = {}, 0.0, 0.0
    for use, corpus in corpora:
        values = report(corpus, answer(model, corpus.samples, device=device, scorer=scorer))
        reports[use.name + ":" + "+".join(use.modalities)] = values
        total += use.select * float(values["mae"])  # type: ignore[arg-type]
        weights += use.select
    return total / weights, reports


def train(
    recipe: Recipe,
    features: Path,
    out: Path,
    *,
    device: torch.device,
    encoder_folder: Path | None = None,
    texts: TextStates | None = None,
) -> Path:
    """Run a recipe, or go on with a run of it that was stopped.

    Args:
        recipe: what to train and how.
        features: folder of the feature files that the recipe names.
        out: folder for the checkpoint, ``record.json`` and ``curve.png``; made if missing.
        device: where to train.
        encoder_folder: where the encoder's weights are; None = the installed package or the hub.
        texts: what frozen encoders have answered in other runs; None = nothing yet.

    Returns:
        The checkpoint with the best validation.

    Raises:
        FileNotFoundError: a feature file or a teacher's scores are missing.
        RecipeError: the feature files are of several schemas, `start_from` has another
            configuration than the recipe, a corpus has no item to train or validate on, samples
            have neither label nor teacher, or the state in `out` is of another recipe.
        EncoderUnavailable: the encoder's weights cannot be had.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    files = {use.name: features / f"{use.name}.npz" for use in recipe.corpora}
    loaded = [(use, load_corpus(files[use.name])) for use in recipe.corpora]
    # Of what is trained on: at the end of a long run the files may be others, or gone.
    hashes = {name: file_sha256(path) for name, path in files.items()}
    if len({corpus.schema.fingerprint for _, corpus in loaded}) > 1:
        raise RecipeError(f"feature files in {features} are of several schemas: prepare them anew")
    parts = [_part(use, corpus, features, recipe) for use, corpus in loaded if use.repeat]
    validation = [
        (use, corpus.split("valid").only(use.modalities)) for use, corpus in loaded if use.select
    ]
    for use, held in validation:
        if not len(held):
            raise RecipeError(_without_items(use, "valid", "select"))
    model, save = starting_model(recipe, loaded[0][1].schema, encoder_folder)
    for module in encoders_of(model):
        for layer in module.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = recipe.encoder_dropout
    spread = Spread(np.ones(0, np.float32), np.ones(0, np.float32))
    if isinstance(model, DPDFLQ):
        fit_standardisation(model.standardise_audio, [s.audio for p in parts for s in p.samples])
        fit_standardisation(model.standardise_video, [s.video for p in parts for s in p.samples])
        spread = Spread(model.standardise_audio.std.numpy(), model.standardise_video.std.numpy())
    model.to(device)
    scorer: Scorer = ask
    if recipe.freeze_encoders and isinstance(model, DPDFLQ):
        scorer = (texts or TextStates()).score
    run = Run(model, parameter_groups(model, recipe), recipe, out, device, scorer)
    checkpoint = out / f"{recipe.name}.safetensors"
    progress = run.fit(
        parts,
        spread,
        validate=partial(validate, corpora=validation, device=device, scorer=scorer),
        save=partial(save, checkpoint),
        frozen=kept_in_evaluation(model, recipe),
    )
    _write_record(out, recipe, progress, hashes)
    return checkpoint


def _part(use: CorpusUse, corpus: Corpus, features: Path, recipe: Recipe) -> Part:
    """A corpus's training split, with the teacher's scores where the recipe asks for them."""
    taught = np.full(len(corpus), np.nan, np.float32)
    if use.taught:
        taught = load_taught(features / f"{use.name}.taught.npz", corpus)
    # `only` leaves samples out, so the targets travel with them as if they were scores.
    targets = {
        score: replace(corpus, scores=values).split("train").only(use.modalities)
        for score, values in (("label", corpus.scores), ("taught", taught))
    }
    if not targets["label"].samples:
        raise RecipeError(_without_items(use, "train", "repeat"))
    joined = np.stack([targets["label"].scores, targets["taught"].scores], axis=1)
    if np.isnan(joined).all(axis=1).any():
        raise RecipeError(f"{use.name} has samples without a score: set taught = true for it.")
    augmentation = Augmentation(**(recipe.augmentation | use.augmentation))
    squared = (use.loss or recipe.loss) == "mse"
    return Part(use, targets["label"].samples, joined, squared, augmentation)


def _without_items(use: CorpusUse, split: str, key: str) -> str:
    return (
        f"{use.name} has no item of the split {split} with {' or '.join(use.modalities)}: give it "
        f"some, or set {key} = 0 for it."
    )


def _write_record(out: Path, recipe: Recipe, progress: Progress, hashes: dict[str, str]) -> None:
    record = {
        "recipe": asdict(recipe),
        "data_sha256": hashes,
        "torch": torch.__version__,
        "seconds": round(progress.seconds),
        "best_selection": progress.best,
        "history": progress.history,
    }
    (out / "record.json").write_text(json.dumps(record, indent=1))
    draw_curve(progress, out / "curve.png")


def draw_curve(progress: Progress, path: Path) -> None:
    """Draw training loss and every corpus's validation MAE over the steps (PNG)."""
    steps = [entry["step"] for entry in progress.history]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, [entry["loss"] for entry in progress.history], "k--", label="training loss")
    names = [key for key in progress.history[0] if isinstance(progress.history[0][key], dict)]
    for name in names:
        errors = [entry[name]["mae"] for entry in progress.history]
        axes.plot(steps, errors, marker="o", label=f"{name} MAE")
    axes.set_xlabel("step")
    axes.set_ylabel("scale points")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(prog="python -m model.training.train", description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--features", type=Path, default=Path("build/features"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--encoder", type=Path, help="folder of the encoder's weights")
    parser.add_argument("--start-from", help="checkpoint, instead of the recipe's")
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    options = parser.parse_args(arguments)
    try:
        recipe = read_recipe(options.recipe)
        if options.seed is not None:
            recipe = replace(recipe, seed=options.seed)
        if options.start_from is not None:
            recipe = replace(recipe, start_from=options.start_from)
        path = train(
            recipe,
            options.features,
            options.out,
            device=choose_device(options.device),
            encoder_folder=options.encoder,
        )
    except (RecipeError, CheckpointError, FileNotFoundError) as error:
        parser.error(str(error))
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
