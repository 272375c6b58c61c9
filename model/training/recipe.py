"""A training run's settings, read from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from model.config import MODALITIES, PROFILES, DPDFConfig, Modality
from model.training.datasets import Augmentation


class RecipeError(ValueError):
    """A run that cannot begin as its recipe and its feature files are; says what to change."""


@dataclass(frozen=True, slots=True)
class CorpusUse:
    """How a run uses one feature file.

    Attributes:
        name: the file's name without its ending.
        repeat: how often its training split is seen an epoch; a fraction draws that share anew
            each epoch; 0 = for validation only.
        select: weight of its validation MAE in the choice of the checkpoint; 0 = not used.
        modalities: leave the others out of every sample, in training and validation.
        taught: also learn from a teacher's scores, ``<name>.taught.npz`` beside the feature file.
        loss: instead of the recipe's. What a sample tells only in part, as a voice its mood, is
            learned by the squared error: the absolute one draws doubtful answers to the commonest.
        augmentation: fields of `Augmentation` that differ from the recipe's for this corpus.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    repeat: float = 1.0
    select: float = 0.0
    modalities: tuple[Modality, ...] = MODALITIES
    taught: bool = False
    loss: Literal["mse", "l1"] | None = None
    augmentation: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of one run.

    Attributes:
        name: model name that the checkpoint carries.
        version: version that the checkpoint carries.
        architecture: ``"dpdf-lq"``, or ``"mean-pooled"``: a text encoder's mean token state and one
            linear map, the teacher of `model.training.teacher`.
        profile: key of `model.config.PROFILES`.
        changes: fields of the profile's configuration to change.
        corpora: what to learn from and to select by.
        epochs: passes over the corpora.
        batch_size: samples a step.
        batches_of_a_kind: put clips that have the same modalities together, so that less is
            padded. Such batches are not like the whole, so batch norm keeps the statistics that
            `start_from` has.
        encoder_rate: peak learning rate of the encoders' changes.
        fusion_rate: peak learning rate of everything else.
        fresh_rate: peak learning rate of what reads voice and face from the features, where
            `start_from` has not learned it; None = `fusion_rate`.
        encoder_dropout: dropout rate inside the text encoders while training.
        warm_up: share of the steps in which the rates rise from 0; they fall to 0 afterwards.
        weight_decay: AdamW's.
        loss: ``"mse"`` is eq. 36; ``"l1"`` is the absolute error.
        teacher_weight: share of the loss that is measured against the teacher's score where a
            sample has one beside its label; what has no label learns from the teacher alone.
        gradient_norm: clipping of the whole gradient.
        average: decay of the running average of weights that is validated and saved; 0 = none.
        validations: how often the run is validated, and its state saved for resuming.
        patience: stop after this many validations in a row without a better one; 0 = never.
        freeze_encoders: train only what comes after the encoders.
        start_from: checkpoint to go on from; None = published encoder weights, the rest fresh. Of
            one trained on other voice or face columns everything but what reads them is taken.
        start_with_encoders: take of `start_from` the text encoders alone; what comes behind them
            may then be of any configuration.
        seed: of every random number in the run.
        augmentation: fields of `model.training.datasets.Augmentation`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    corpora: tuple[CorpusUse, ...]
    version: str = "0.0.0"
    architecture: Literal["dpdf-lq", "mean-pooled"] = "dpdf-lq"
    profile: str = "default"
    changes: dict[str, Any] = field(default_factory=dict)
    epochs: int = 1
    batch_size: int = 32
    batches_of_a_kind: bool = False
    encoder_rate: float = 3e-4
    fusion_rate: float = 5e-4
    fresh_rate: float | None = None
    encoder_dropout: float = 0.1
    warm_up: float = 0.06
    weight_decay: float = 0.01
    loss: Literal["mse", "l1"] = "l1"
    teacher_weight: float = 0.5
    gradient_norm: float = 1.0
    average: float = 0.0
    validations: int = 4
    patience: int = 0
    freeze_encoders: bool = False
    start_from: str | None = None
    start_with_encoders: bool = False
    seed: int = 1
    augmentation: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            known = ", ".join(PROFILES)
            raise RecipeError(f"there is no profile {self.profile}: they are {known}")
        _known(self.changes, DPDFConfig, "[changes]")
        for augmentation in (self.augmentation, *(use.augmentation for use in self.corpora)):
            _known(augmentation, Augmentation, "augmentation")
        if not any(use.select > 0 for use in self.corpora):
            raise RecipeError("no corpus has select > 0: there is nothing to choose weights by")
        if not any(use.repeat > 0 for use in self.corpora):
            raise RecipeError("no corpus has repeat > 0: there is nothing to learn from")

    @property
    def config(self) -> DPDFConfig:
        """The model's configuration."""
        base = PROFILES[self.profile]
        values = {name: getattr(base, name) for name in DPDFConfig.__slots__}
        changes = {k: tuple(v) if isinstance(v, list) else v for k, v in self.changes.items()}
        return DPDFConfig(**(values | changes))


def _known(settings: Iterable[str], of: type, where: str) -> None:
    known = [each.name for each in fields(of)]
    if unknown := sorted(set(settings) - set(known)):
        raise RecipeError(
            f"{where} has no setting {', '.join(unknown)}: they are {', '.join(known)}"
        )


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        FileNotFoundError: no such file.
        RecipeError: it is no TOML; a setting is unknown, missing or of another type (all of them
            are named); or there is nothing to learn from, or nothing to choose by.
    """
    try:
        return TypeAdapter(Recipe).validate_python(tomllib.loads(path.read_text()))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is no TOML: {error}") from error
    except ValidationError as error:
        wrong = [
            ": ".join(filter(None, (".".join(map(str, each["loc"])), _said(each["msg"]))))
            for each in error.errors()
        ]
        raise RecipeError(f"{path} is no recipe. {'; '.join(wrong)}") from error
