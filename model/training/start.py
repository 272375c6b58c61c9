"""The model that a recipe begins with: built or taken over, and what of it learns at which rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from model.checkpoint import CheckpointHeader, build_model, load_checkpoint, save_checkpoint
from model.dpdf_lq import Standardise
from model.inputs import FeatureSchema
from model.training.mean_pooled import MeanPooled, save_mean_pooled
from model.training.recipe import Recipe, RecipeError

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


def starting_model(
    recipe: Recipe, schema: FeatureSchema, encoder_folder: Path | None
) -> tuple[nn.Module, Callable[[Path, Any], None]]:
    """The model of a recipe on the CPU, and how it is saved to a path.

    Raises:
        RecipeError: a mean-pooled model without its encoder's folder, or a `start_from` of another
            tokenizer or configuration than the recipe's.
        EncoderUnavailable: the encoder's weights cannot be had.
    """
    if recipe.architecture == "mean-pooled":
        if encoder_folder is None:
            raise RecipeError("a mean-pooled model needs the folder of its encoder: --encoder")
        return MeanPooled.from_folder(encoder_folder), save_mean_pooled
    header = CheckpointHeader(recipe.name, recipe.version, recipe.config, schema)
    save = partial(save_checkpoint, header=header)
    if recipe.start_from is None:
        return build_model(recipe.config, encoder_folder=encoder_folder), save
    start, started = load_checkpoint(
        Path(recipe.start_from), schema=None, encoder_folder=encoder_folder
    )
    if started.schema.tokenizer != schema.tokenizer:
        raise RecipeError(f"{recipe.start_from} was trained on another tokenizer's ids.")
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
        raise RecipeError(
            f"{recipe.start_from} has another configuration than the recipe: "
            f"{started.config} is not {recipe.config}"
        )
    model = build_model(recipe.config, encoder_folder=encoder_folder)
    kept = {n: t for n, t in start.state_dict().items() if not n.startswith(_READS_FEATURES)}
    model.load_state_dict(kept, strict=False)
    return model, save


def encoders_of(model: nn.Module) -> list[nn.Module]:
    """The model's text encoders."""
    return [m for m in (getattr(model, name, None) for name in _ENCODERS) if m is not None]


def kept_in_evaluation(model: nn.Module, recipe: Recipe) -> list[nn.Module]:
    """What stays in evaluation mode: frozen encoders, and batch norm where batches are uneven."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    return (encoders_of(model) if recipe.freeze_encoders else []) + (
        norms if recipe.batches_of_a_kind else []
    )


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
