"""What a run begins with: standardisation, and which weights learn at which rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model.dpdf_lq import Standardise
from model.training.start import fit_standardisation, parameter_groups
from tests.model.conftest import make_model
from tests.model.runs import CONFIG, tiny_recipe

# --- standardisation -----------------------------------------------------------------------------


def test_fit_standardisation_by_hand() -> None:
    layer = Standardise(4)
    nan = float("nan")
    rows = [
        np.array([[1, 10, 7, nan], [2, nan, 7, nan]], np.float32),
        np.empty((0, 4), np.float32),
        np.array([[6, 30, 7, nan]], np.float32),
    ]
    fit_standardisation(layer, rows)
    # (1, 2, 6): mean 3, variance (4 + 1 + 9) / 3. (10, 30): mean 20, spread 10. A column that
    # never moves keeps its scale, and so does one of which nothing is known.
    torch.testing.assert_close(layer.mean, torch.tensor([3.0, 20, 7, 0]))
    torch.testing.assert_close(layer.std, torch.tensor([(14 / 3) ** 0.5, 10, 1, 1]))


@pytest.mark.parametrize("rows", [[], [np.empty((0, 2), np.float32)]])
def test_fit_standardisation_without_rows_changes_nothing(rows: list[np.ndarray]) -> None:
    layer = Standardise(2)
    layer.mean.fill_(5.0)
    fit_standardisation(layer, rows)
    assert layer.mean.tolist() == [5, 5]
    assert layer.std.tolist() == [1, 1]


# --- rates ---------------------------------------------------------------------------------------


def test_encoders_have_a_rate_of_their_own_and_only_matrices_decay() -> None:
    model = make_model(replace(CONFIG, encoder_rank=3))
    groups = parameter_groups(
        model, tiny_recipe(encoder_rate=0.5, fusion_rate=0.25, weight_decay=0.1)
    )
    of: dict[int, dict[str, Any]] = {}
    for group in groups:
        parameters: Any = group["params"]
        of |= {id(parameter): group for parameter in parameters}
    for name, parameter in model.named_parameters():
        if name in model.pinned:
            assert id(parameter) not in of
            continue
        group = of[id(parameter)]
        assert group["lr"] == (0.5 if "_encoder." in name.split("_path")[0] else 0.25), name
        assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0), name


def test_frozen_encoders_are_not_trained() -> None:
    model = make_model(CONFIG)
    groups = parameter_groups(model, tiny_recipe(freeze_encoders=True))
    assert {group["lr"] for group in groups} == {5e-3}
    for name, parameter in model.named_parameters():
        encoder = name.startswith(("global_encoder.", "local_encoder."))
        assert parameter.requires_grad is not encoder
