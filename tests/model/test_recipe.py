"""Recipes: those that ship can be run, and slips of the pen are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model.training.datasets import Augmentation
from model.training.recipe import read_recipe

RECIPES = sorted((Path(__file__).parents[2] / "model" / "training" / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_can_be_run(path: Path) -> None:
    recipe = read_recipe(path)
    assert sum(use.select for use in recipe.corpora) > 0
    assert sum(use.repeat for use in recipe.corpora) > 0
    for use in recipe.corpora:
        settings: dict[str, Any] = recipe.augmentation | use.augmentation
        Augmentation(**settings)


def test_a_recipe_with_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('name = "a"\ncolour = "red"\n[[corpora]]\nname = "b"\n')
    with pytest.raises(TypeError, match="colour"):
        read_recipe(path)
