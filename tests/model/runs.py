"""A run of the tiny model, for the tests of training."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from model.training.recipe import CorpusUse, Recipe
from tests.model.conftest import TINY

CONFIG = replace(TINY, local_readout="mean")
CHANGES: dict[str, Any] = asdict(CONFIG)


def tiny_recipe(**settings: Any) -> Recipe:
    """A run of the tiny model over the corpus ``voices``."""
    values: dict[str, Any] = {
        "name": "tiny",
        "corpora": (CorpusUse("voices", select=1.0),),
        "changes": CHANGES,
        "batch_size": 16,
        "fusion_rate": 5e-3,
        "encoder_rate": 1e-4,
        "validations": 2,
    }
    return Recipe(**(values | settings))
