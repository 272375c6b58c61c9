"""The one training loop, for every architecture, profile and ablation.

AdamW with linear warm-up and decay, validated a few times, the best weights kept. A run saves its
state at each validation and goes on from there when it is started again; the batches of an epoch
follow from the seed and the epoch alone, so that a resumed run sees what it would have seen.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from model.inputs import collate
from model.training.batches import Batch, Part, epoch_batches, epoch_length, pieces
from model.training.datasets import Spread
from model.training.evaluate import Scorer
from model.training.recipe import Recipe, RecipeError

Validation = Callable[[nn.Module], tuple[float, dict[str, dict[str, object]]]]
"""Measures a model: the number to make small, and every corpus's metrics."""

STATE = "state.pt"
"""Where a run keeps what it needs to go on; taken away when it is done."""


@dataclass(slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: batches learned from.
        loss: running mean of the training loss.
        best: lowest selection so far.
        since_best: validations since then.
        seconds: time spent.
        history: an entry a validation: step, loss, selection and the corpora's metrics.
    """

    step: int = 0
    loss: float = float("nan")
    best: float = float("inf")
    since_best: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


def distance(scores: Tensor, targets: Tensor, squared: Tensor, recipe: Recipe) -> Tensor:
    """The loss of a batch: from the labels (eq. 36, or the absolute error) and from the teacher.

    Args:
        scores: (B,) the model's answers.
        targets: (B, 2) as in `Batch`.
        squared: (B,) likewise.
        recipe: names the teacher's weight.

    Returns:
        () mean over the batch.
    """
    known = ~targets.isnan()
    taught = torch.where(known[:, 0], recipe.teacher_weight, 1.0) * known[:, 1]
    weights = torch.stack([1 - taught, taught], dim=1)
    errors = torch.where(known, scores[:, None] - targets.nan_to_num(), 0.0)
    errors = torch.where(squared[:, None], errors.square(), errors.abs())
    return (errors * weights).sum(dim=1).mean()


class Run:
    """One run of a recipe over a model, from its start or from where it was stopped.

    Args:
        model: on `device`; its trainable parameters are in `groups`.
        groups: of AdamW, each with its peak rate as ``lr``.
        recipe: lengths, rates, loss.
        out: folder of the state.
        device: where the model is.
        scorer: how the model is asked.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: list[dict[str, Any]],
        recipe: Recipe,
        out: Path,
        device: torch.device,
        scorer: Scorer,
    ) -> None:
        self.model, self.recipe, self.device, self.scorer = model, recipe, device, scorer
        self.progress = Progress()
        self._state = out / STATE
        self._rates = [float(group["lr"]) for group in groups]
        self._optimiser = torch.optim.AdamW(groups, fused=True)
        self._averaged = (
            AveragedModel(
                model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True
            )
            if recipe.average
            else None
        )
        self._resume()

    @property
    def current(self) -> nn.Module:
        """The weights that are validated and saved: the running average, if there is one."""
        if self._averaged is None:
            return self.model
        averaged: nn.Module = self._averaged.module
        return averaged

    def fit(
        self,
        parts: Sequence[Part],
        spread: Spread,
        *,
        validate: Validation,
        save: Callable[[nn.Module], None],
        frozen: Sequence[nn.Module] = (),
    ) -> Progress:
        """Learn, validate and keep the best.

        Args:
            parts: what to learn from.
            spread: of the columns, for the augmentation's noise.
            validate: called `recipe.validations` times.
            save: called with every model that validates better than all before.
            frozen: modules that stay in evaluation mode.
        """
        recipe, progress = self.recipe, self.progress
        length = epoch_length(parts, recipe)
        steps = recipe.epochs * length
        due = {round(steps * (i + 1) / recipe.validations) for i in range(recipe.validations)}
        started = time.monotonic() - progress.seconds
        bar = tqdm(total=steps, initial=progress.step, desc=recipe.name, disable=None)
        for epoch in range(progress.step // max(1, length), recipe.epochs):
            random = np.random.default_rng((recipe.seed, epoch))
            batches = epoch_batches(parts, recipe, spread, random)
            for index, batch in enumerate(batches):
                if epoch * length + index < progress.step:
                    continue
                if recipe.patience and progress.since_best >= recipe.patience:
                    break
                self.model.train()
                for module in frozen:
                    module.eval()
                self._learn(batch, steps)
                bar.update()
                bar.set_postfix(loss=f"{progress.loss:.3f}", best=f"{progress.best:.4f}")
                if progress.step in due:
                    progress.seconds = time.monotonic() - started
                    self._validate(validate, save)
        bar.close()
        self._state.unlink(missing_ok=True)
        return progress

    def _learn(self, batch: Batch, steps: int) -> None:
        """One step of AdamW; rates rise over the warm-up and fall to 0 at the end."""
        recipe, progress = self.recipe, self.progress
        rise = (progress.step + 1) / max(1.0, recipe.warm_up * steps)
        scale = min(rise, (steps - progress.step) / steps)
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * scale
        self._optimiser.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self.device)
        # Frozen encoders keep nothing for a gradient, and what is behind them is small.
        for piece in [batch] if recipe.freeze_encoders else pieces(batch):
            loss += self._add_gradient(piece, share=len(piece.samples) / len(batch.samples))
        nn.utils.clip_grad_norm_(
            [p for group in self._optimiser.param_groups for p in group["params"]],
            recipe.gradient_norm,
        )
        self._optimiser.step()
        if self._averaged is not None:
            self._averaged.update_parameters(self.model)
        progress.step += 1
        value = float(loss)
        fresh = progress.step == 1
        progress.loss = value if fresh else progress.loss + 0.02 * (value - progress.loss)

    def _add_gradient(self, piece: Batch, *, share: float) -> Tensor:
        """Add the gradient of a part of a batch; returns its share of the loss."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            outputs = self.scorer(self.model, collate(piece.samples).to(self.device))
        targets = torch.from_numpy(piece.targets).to(self.device)
        squared = torch.from_numpy(piece.squared).to(self.device)
        loss = share * distance(outputs.score.float(), targets, squared, self.recipe)
        loss.backward()
        return loss.detach()

    def _validate(self, validate: Validation, save: Callable[[nn.Module], None]) -> None:
        progress = self.progress
        selection, reports = validate(self.current)
        progress.history.append(
            {"step": progress.step, "loss": progress.loss, "selection": selection, **reports}
        )
        tqdm.write(json.dumps(progress.history[-1]), file=sys.stderr)
        progress.since_best += 1
        if selection < progress.best:
            progress.best, progress.since_best = selection, 0
            save(self.current)
        self._save_state()

    def _save_state(self) -> None:
        state = {
            "recipe": repr(self.recipe),
            "progress": json.dumps({n: getattr(self.progress, n) for n in Progress.__slots__}),
            "model": self.model.state_dict(),
            "averaged": None if self._averaged is None else self._averaged.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "random": torch.get_rng_state(),
        }
        partial = self._state.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._state)

    def _resume(self) -> None:
        """Go on from a state that an interrupted run of the same recipe has left."""
        if not self._state.is_file():
            return
        state = torch.load(self._state, map_location=self.device, weights_only=True)
        if state["recipe"] != repr(self.recipe):
            raise RecipeError(
                f"{self._state} was left by a run of another recipe: choose another --out, or "
                "delete it to start anew."
            )
        self.progress = Progress(**json.loads(state["progress"]))
        self.model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        if self._averaged is not None:
            self._averaged.load_state_dict(state["averaged"])
        torch.set_rng_state(state["random"].cpu())
