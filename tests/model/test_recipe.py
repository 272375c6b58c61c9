"""Recipes: those that ship can be run, and slips of the pen are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model.training.datasets import Augmentation
from model.training.recipe import RecipeError, read_recipe

RECIPES = sorted((Path(__file__).parents[2] / "model" / "training" / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_can_be_run(path: Path) -> None:
    recipe = read_recipe(path)
    assert sum(use.select for use in recipe.corpora) > 0
    assert sum(use.repeat for use in recipe.corpora) > 0
    for use in recipe.corpora:
        settings: dict[str, Any] = recipe.augmentation | use.augmentation
        Augmentation(**settings)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "a"\ncolour = "red"\n[[corpora]]\nname = "b"\nselect = 1', "colour: Unexpected"),
        ('name = "a"\nepochs = "two"\n[[corpora]]\nname = "b"', "epochs: .* integer"),
        ('[[corpora]]\nname = "b"\nselect = 1', "name: Field required"),
        ('name = "a"\n[[corpora]]\nname = "b"\nselected = 1', "corpora.0.selected: Unexpected"),
        ('name = "a"\n[[corpora]]\nname = "b"\nmodalities = ["vidoe"]', "'audio' or 'video'"),
        (
            'name = "a"\nprofile = "large"\n[[corpora]]\nname = "b"',
            "no profile large: .* paper-mosi",
        ),
        ('name = "a"\n[changes]\nsize = 3\n[[corpora]]\nname = "b"', "changes.* no setting size"),
        (
            'name = "a"\n[[corpora]]\nname = "b"\naugmentation = { still = 3 }',
            "no setting still: .* still_steps",
        ),
        ('name = "a"\n[[corpora]]\nname = "b"', "select > 0"),
        ('name = "a"\n[[corpora]]\nname = "b"\nselect = 1\nrepeat = 0', "repeat > 0"),
        ("name = a", "is no TOML"),
    ],
)
def test_a_recipe_that_cannot_be_run_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=said) as refused:
        read_recipe(path)
    assert str(refused.value).startswith(str(path))


def test_all_that_is_wrong_with_a_recipe_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = 3\nepochs = "two"\n[[corpora]]\nrepeat = 1')
    with pytest.raises(RecipeError, match=r"corpora\.0\.name: .*epochs: "):
        read_recipe(path)
