"""The ablation table: which recipe a row is, what the table says, and the command itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import read_header
from model.config import ABLATIONS
from model.training.ablations import ROWS, WHOLE, main, row_recipe, run_folder, table
from model.training.recipe import CorpusUse, Recipe, read_recipe
from model.training.train import train
from tests.model.conftest import TINY, Labelled, make_sample, write_corpus

RECIPE = Path(__file__).parents[2] / "model" / "training" / "recipes" / "ablation.toml"


def test_rows_are_the_recipe_with_one_change() -> None:
    recipe = read_recipe(RECIPE)
    assert row_recipe(recipe, WHOLE, 2) == replace(recipe, seed=2)
    for row in ABLATIONS:
        changed = row_recipe(recipe, row, 1).config
        assert changed == replace(recipe.config, **ABLATIONS[row])  # type: ignore[arg-type]
        assert changed != recipe.config
    assert set(ROWS) <= {WHOLE, *ABLATIONS}
    with pytest.raises(ValueError, match="w/o everything"):
        row_recipe(recipe, "w/o everything", 1)


def test_every_row_has_a_folder_of_its_own() -> None:
    folders = {run_folder(Path("out"), row, 3) for row in (WHOLE, *ABLATIONS)}
    assert len(folders) == 1 + len(ABLATIONS)
    assert run_folder(Path("out"), "DGLQA -> Std.A", 3) == Path("out/dglqa-std-a/3")


def test_the_table_by_hand() -> None:
    runs: list[Mapping[str, float]] = [
        {"mae": 0.5, "corr": 0.8, "acc7": 0.5},
        {"mae": 0.7, "corr": 0.8, "acc7": 0.4},
    ]
    assert table({(WHOLE, "mosi:test"): runs}, [WHOLE], ["mosi:test"]).splitlines() == [
        "| | mosi:test MAE | mosi:test Corr | mosi:test Acc-7 |",
        "|---|---|---|---|",
        # (0.5, 0.7): mean 0.6, standard deviation 0.1 √2
        "| DPDF-LQ | 0.600 ± 0.141 | 0.800 ± 0.000 | 0.450 ± 0.071 |",
    ]


def test_the_command_trains_measures_and_goes_on(
    tmp_path: Path, tiny_encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(2)
    items = [
        Labelled(make_sample(i), random.uniform(-3, 3), f"c{i}", ("train", "valid", "test")[i % 3])
        for i in range(36)
    ]
    write_corpus(tmp_path / "clips.npz", items)
    # TOML has no None, so every setting is given.
    shape = asdict(replace(TINY, encoder_rank=2))
    start = Recipe("start", (CorpusUse("clips", select=1.0),), changes=shape, validations=1)
    started = train(
        start,
        tmp_path,
        tmp_path / "start",
        device=torch.device("cpu"),
        encoder_folder=tiny_encoder,
    )
    changes = "\n".join(f"{k} = {json.dumps(v)}" for k, v in shape.items())
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        f'name = "tiny"\nstart_from = "{started}"\nstart_with_encoders = true\n'
        f"freeze_encoders = true\nvalidations = 1\n[changes]\n{changes}\n"
        '[[corpora]]\nname = "clips"\nselect = 1.0\n'
    )
    command = [str(recipe), "--out", str(tmp_path / "out"), "--features", str(tmp_path)]
    command += ["--encoder", str(tiny_encoder), "--rows", WHOLE, "w/o GPath", "--seeds", "1", "2"]
    command += ["--corpora", "clips:test"]
    main(command)
    made = capsys.readouterr().out
    assert made == (tmp_path / "out" / "table.md").read_text()
    assert [line.split(" |")[0] for line in made.splitlines()[2:]] == ["| DPDF-LQ", "| w/o GPath"]
    lines = (tmp_path / "out" / "ablations.jsonl").read_text().splitlines()
    assert [(json.loads(x)["row"], json.loads(x)["seed"]) for x in lines] == [
        (WHOLE, 1),
        ("w/o GPath", 1),
        (WHOLE, 2),
        ("w/o GPath", 2),
    ]
    weights = run_folder(tmp_path / "out", "w/o GPath", 2) / "tiny.safetensors"
    assert not read_header(weights).config.global_path
    first = weights.stat().st_mtime_ns
    main(command)
    assert capsys.readouterr().out == made
    assert weights.stat().st_mtime_ns == first
