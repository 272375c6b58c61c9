"""Train a checkpoint: ``python -m model.training.train RECIPE.toml --out build/runs/NAME``.

A run that was stopped goes on where it was when the same command is given again. Beside the weights
it leaves ``record.json`` (recipe, data hashes, every validation) and ``curve.png``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from model.checkpoint import (
    CheckpointHeader,
    build_model,
    file_sha256,
    load_checkpoint,
    save_checkpoint,
)
from model.corpus import Corpus, load_corpus
from model.dpdf_lq import DPDFLQ, Standardise
from model.inputs import FeatureSchema
from model.predictor import choose_device
from model.training.datasets import Augmentation, Spread, load_taught
from model.training.evaluate import Scorer, answer, ask, report
from model.training.loop import Part, Progress, Run
from model.training.mean_pooled import MeanPooled, save_mean_pooled
from model.training.recipe import CorpusUse, Recipe, read_recipe
from model.training.text_states import TextStates

_READS_FEATURES = (
    "standardise_audio.",
    "standardise_video.",
    "global_path.project_audio.",
    "global_path.project_video.",
    "local_path.project_audio.",
    "local_path.project_video.",
    "local_path.spatial.",
)
"""What learns from voice and face columns directly: fresh after words alone."""

_ENCODERS = ("global_encoder", "local_encoder", "encoder")
"""Children of a model that are text encoders."""


def fit_standardisation(layer: Standardise, rows: Sequence[NDArray[np.float32]]) -> None:
    """Set a layer's mean and std from rows (steps, columns) a clip; without rows leave them."""
    filled = [row for row in rows if len(row)]
    if not filled:
        return
    joined = np.concatenate(filled)
    known = ~np.isnan(joined)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.nansum(joined, axis=0) / count
    std = np.sqrt(np.nansum((joined - mean) ** 2, axis=0) / count)
    # A column that never moves carries nothing; leave its scale alone rather than divide by 0.
    std = np.where(std > 1e-6, std, 1.0)
    layer.mean.copy_(torch.from_numpy(mean.astype(np.float32)))
    layer.std.copy_(torch.from_numpy(std.astype(np.float32)))


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters by their rates: encoders, what reads features, the rest.

    Norms and biases are not decayed.
    """
    fresh_rate = recipe.fusion_rate if recipe.fresh_rate is None else recipe.fresh_rate
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, tensor in model.named_parameters():
        is_encoder = name.split(".")[0] in _ENCODERS
        if is_encoder and recipe.freeze_encoders:
            tensor.requires_grad = False
        if tensor.requires_grad:
            rate = recipe.encoder_rate if is_encoder else recipe.fusion_rate
            rate = fresh_rate if name.startswith(_READS_FEATURES) else rate
            groups.setdefault((rate, tensor.ndim > 1), []).append(tensor)
    return [
        {"params": tensors, "lr": rate, "weight_decay": recipe.weight_decay if decayed else 0.0}
        for (rate, decayed), tensors in groups.items()
    ]


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
        ValueError: the feature files are of several schemas, `start_from` has another configuration
            than the recipe, samples have neither label nor teacher, or the state in `out` is of
            another recipe.
        EncoderUnavailable: the encoder's weights cannot be had.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    loaded = [(use, load_corpus(features / f"{use.name}.npz")) for use in recipe.corpora]
    if len({corpus.schema.fingerprint for _, corpus in loaded}) > 1:
        raise ValueError(f"feature files in {features} are of several schemas: prepare them anew")
    parts = [_part(use, corpus, features, recipe) for use, corpus in loaded if use.repeat]
    validation = [
        (use, corpus.split("valid").only(use.modalities)) for use, corpus in loaded if use.select
    ]
    model, save = _build(recipe, loaded[0][1].schema, encoder_folder)
    for module in _encoders(model):
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
        frozen=_kept(model, recipe),
    )
    _write_record(out, recipe, progress, {u.name: features / f"{u.name}.npz" for u, _ in loaded})
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
    label, taught = targets["label"].scores, targets["taught"].scores
    squared = np.full_like(label, (use.loss or recipe.loss) == "mse")
    joined = np.stack([label, taught, squared], axis=1)
    if np.isnan(joined[:, :2]).all(axis=1).any():
        raise ValueError(f"{use.name} has samples without a score: set taught = true for it.")
    augmentation = Augmentation(**(recipe.augmentation | use.augmentation))
    return Part(use, targets["label"].samples, joined, augmentation)


def _build(
    recipe: Recipe, schema: FeatureSchema, encoder_folder: Path | None
) -> tuple[nn.Module, Callable[[Path, Any], None]]:
    """The model of a recipe on the CPU, and how it is saved."""
    if recipe.architecture == "mean-pooled":
        if encoder_folder is None:
            raise ValueError("a mean-pooled model needs the folder of its encoder: --encoder")
        return MeanPooled.from_folder(encoder_folder), save_mean_pooled
    header = CheckpointHeader(recipe.name, recipe.version, recipe.config, schema)
    save = partial(save_checkpoint, header=header)
    if recipe.start_from is None:
        return build_model(recipe.config, encoder_folder=encoder_folder), save
    start, started = load_checkpoint(
        Path(recipe.start_from), schema=None, encoder_folder=encoder_folder
    )
    if started.schema.tokenizer != schema.tokenizer:
        raise ValueError(f"{recipe.start_from} was trained on another tokenizer's ids.")
    if recipe.start_with_encoders:
        model = build_model(recipe.config, encoder_folder=encoder_folder)
        for name, encoder in model.named_children():
            if name in _ENCODERS:
                encoder.load_state_dict(start.get_submodule(name).state_dict())
        return model, save
    if started.schema == schema and started.config == recipe.config:
        return start, save
    may_differ = ("audio_columns", "video_columns", "audio_changes", "dropout")
    alike = replace(started.config, **{name: getattr(recipe.config, name) for name in may_differ})
    if alike != recipe.config:
        raise ValueError(
            f"{recipe.start_from} has another configuration than the recipe: "
            f"{started.config} is not {recipe.config}"
        )
    model = build_model(recipe.config, encoder_folder=encoder_folder)
    kept = {n: t for n, t in start.state_dict().items() if not n.startswith(_READS_FEATURES)}
    model.load_state_dict(kept, strict=False)
    return model, save


def _encoders(model: nn.Module) -> list[nn.Module]:
    return [m for m in (getattr(model, name, None) for name in _ENCODERS) if m is not None]


def _kept(model: nn.Module, recipe: Recipe) -> list[nn.Module]:
    """What stays in evaluation mode: frozen encoders, and batch norm where batches are uneven."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    return (_encoders(model) if recipe.freeze_encoders else []) + (
        norms if recipe.batches_of_a_kind else []
    )


def _write_record(out: Path, recipe: Recipe, progress: Progress, data: dict[str, Path]) -> None:
    record = {
        "recipe": asdict(recipe),
        "data_sha256": {name: file_sha256(path) for name, path in data.items()},
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
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
