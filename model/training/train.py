"""Train a checkpoint: ``python -m model.training.train RECIPE.toml --out build/runs/NAME``.

The one training loop, for every profile and ablation: AdamW with linear warm-up and decay,
validation by the recipe's weighting of the corpora's validation MAE, the best weights kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from model.checkpoint import (
    CheckpointHeader,
    build_model,
    file_sha256,
    load_checkpoint,
    save_checkpoint,
)
from model.dpdf_lq import DPDFLQ, Standardise
from model.inputs import Sample, collate
from model.predictor import choose_device
from model.training.datasets import Augmentation, Corpus, cost, load_corpus
from model.training.evaluate import answer, report
from model.training.recipe import CorpusUse, Recipe, read_recipe


def fit_standardisation(layer: Standardise, rows: Sequence[np.ndarray]) -> None:
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


def epoch_batches(
    parts: Sequence[tuple[CorpusUse, list[Sample], np.ndarray]],
    recipe: Recipe,
    augmentation: Augmentation,
    random: np.random.Generator,
) -> Iterator[tuple[list[Sample], np.ndarray]]:
    """One epoch's batches: each corpus as often as it says, clips of like length together."""
    items: list[tuple[Sample, float]] = []
    for use, samples, scores in parts:
        whole, share = divmod(use.repeat, 1)
        drawn = [np.arange(len(samples))] * int(whole)
        drawn.append(random.permutation(len(samples))[: round(share * len(samples))])
        items += [
            (augmentation.apply(samples[i], random), float(scores[i]))
            for i in np.concatenate(drawn)
        ]
    order = random.permutation(len(items))
    stretch = 50 * recipe.batch_size
    batches = []
    for start in range(0, len(order), stretch):
        near = sorted(order[start : start + stretch], key=lambda i: cost(items[i][0]))
        batches += [near[i : i + recipe.batch_size] for i in range(0, len(near), recipe.batch_size)]
    for index in random.permutation(len(batches)):
        chosen = [items[i] for i in batches[index]]
        yield [s for s, _ in chosen], np.array([y for _, y in chosen], np.float32)


def epoch_length(
    parts: Sequence[tuple[CorpusUse, list[Sample], np.ndarray]], recipe: Recipe
) -> int:
    """How many batches `epoch_batches` yields."""
    items = sum(
        int(use.repeat) * len(samples) + round(use.repeat % 1 * len(samples))
        for use, samples, _ in parts
    )
    return -(-items // recipe.batch_size)


def parameter_groups(model: DPDFLQ, recipe: Recipe) -> list[dict[str, object]]:
    """Encoder and fusion parameters with their own rates; norms and biases are not decayed."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, tensor in model.named_parameters():
        is_encoder = name.startswith(("global_encoder.", "local_encoder."))
        if is_encoder and recipe.freeze_encoders:
            tensor.requires_grad = False
        if tensor.requires_grad:
            groups.setdefault((is_encoder, tensor.ndim > 1), []).append(tensor)
    return [
        {
            "params": tensors,
            "lr": recipe.encoder_rate if is_encoder else recipe.fusion_rate,
            "weight_decay": recipe.weight_decay if decayed else 0.0,
        }
        for (is_encoder, decayed), tensors in groups.items()
    ]


def validate(
    model: DPDFLQ, corpora: Sequence[tuple[CorpusUse, Corpus]], device: torch.device
) -> tuple[float, dict[str, dict[str, object]]]:
    """The weighted validation MAE, and every corpus's metrics."""
    model.eval()
    reports, total, weights = {}, 0.0, 0.0
    for use, corpus in corpora:
        values = report(corpus, answer(model, corpus.samples, device=device))
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
) -> Path:
    """Run a recipe.

    Args:
        recipe: what to train and how.
        features: folder of the feature files that the recipe names.
        out: folder for the checkpoint and ``record.json``.
        device: where to train.
        encoder_folder: where the encoder's weights are; None = the installed package or the hub.

    Returns:
        The checkpoint with the best validation.

    Raises:
        FileNotFoundError: a feature file is missing.
        ValueError: `start_from` has another configuration than the recipe.
        EncoderUnavailable: the encoder's weights cannot be had.
    """
    torch.manual_seed(recipe.seed)
    random = np.random.default_rng(recipe.seed)
    loaded = [(use, load_corpus(features / f"{use.name}.npz")) for use in recipe.corpora]
    parts = []
    for use, corpus in loaded:
        if use.repeat:
            chosen = corpus.split("train").only(use.modalities)
            parts.append((use, chosen.samples, chosen.scores))
    validation = [
        (use, corpus.split("valid").only(use.modalities)) for use, corpus in loaded if use.select
    ]
    schema = loaded[0][1].schema
    if recipe.start_from is None:
        model = build_model(recipe.config, encoder_folder=encoder_folder)
    else:
        model, header = load_checkpoint(
            Path(recipe.start_from), schema=schema, encoder_folder=encoder_folder
        )
        if header.config != recipe.config:
            raise ValueError(
                f"{recipe.start_from} has another configuration than the recipe: "
                f"{header.config} is not {recipe.config}"
            )
    fit_standardisation(model.standardise_audio, [s.audio for _, ss, _ in parts for s in ss])
    fit_standardisation(model.standardise_video, [s.video for _, ss, _ in parts for s in ss])
    model.to(device)
    groups = parameter_groups(model, recipe)
    rates = [group["lr"] for group in groups]
    optimiser = torch.optim.AdamW(groups)
    averaged = (
        AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True)
        if recipe.average
        else None
    )
    augmentation = Augmentation(**recipe.augmentation)  # type: ignore[arg-type]
    header = CheckpointHeader(recipe.name, recipe.version, recipe.config, schema)
    loss_of = functional.mse_loss if recipe.loss == "mse" else functional.l1_loss
    steps = recipe.epochs * epoch_length(parts, recipe)
    due = {round(steps * (i + 1) / recipe.validations) for i in range(recipe.validations)}
    history: list[dict[str, object]] = []
    best, step, running, started = float("inf"), 0, float("nan"), time.monotonic()
    checkpoint = out / f"{recipe.name}.safetensors"
    bar = tqdm(total=steps, desc=recipe.name, disable=None)
    for _ in range(recipe.epochs):
        for samples, scores in epoch_batches(parts, recipe, augmentation, random):
            model.train()
            if recipe.freeze_encoders:
                _encoders_to_evaluation(model)
            scale = min((step + 1) / max(1, recipe.warm_up * steps), (steps - step) / steps)
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * scale  # type: ignore[operator]
            with torch.autocast(device.type, dtype=torch.bfloat16):
                outputs = model(collate(samples).to(device))
            target = torch.from_numpy(scores).to(device)
            loss: Tensor = loss_of(outputs.score.float(), target)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(
                [p for g in optimiser.param_groups for p in g["params"]], recipe.gradient_norm
            )
            optimiser.step()
            if averaged is not None:
                averaged.update_parameters(model)
            step += 1
            value = float(loss.detach())
            running = value if step == 1 else running + 0.02 * (value - running)
            bar.update()
            bar.set_postfix(loss=f"{running:.3f}", best=f"{best:.4f}")
            if step in due:
                current: DPDFLQ = model if averaged is None else averaged.module  # type: ignore[assignment]
                selection, reports = validate(current, validation, device)
                history.append({"step": step, "loss": running, "selection": selection, **reports})
                tqdm.write(json.dumps(history[-1]), file=sys.stderr)
                if selection < best:
                    best = selection
                    save_checkpoint(checkpoint, current, header)
    bar.close()
    record = {
        "recipe": asdict(recipe),
        "data_sha256": {use.name: file_sha256(features / f"{use.name}.npz") for use, _ in loaded},
        "torch": torch.__version__,
        "seconds": round(time.monotonic() - started),
        "best_selection": best,
        "history": history,
    }
    (out / "record.json").write_text(json.dumps(record, indent=1))
    return checkpoint


def _encoders_to_evaluation(model: DPDFLQ) -> None:
    for encoder in (model.global_encoder, model.local_encoder):
        if encoder is not None:
            encoder.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(prog="python -m model.training.train", description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--features", type=Path, default=Path("build/features"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--encoder", type=Path, help="folder of the encoder's weights")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    path = train(
        read_recipe(options.recipe),
        options.features,
        options.out,
        device=choose_device(options.device),
        encoder_folder=options.encoder,
    )
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
