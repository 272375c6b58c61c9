"""The paper's Table 2 on our data: ``python -m model.training.ablations RECIPE --out FOLDER``.

Each row is the recipe with one part of the model switched off or replaced, trained with several
seeds by the one loop that trains everything. A stopped command goes on where it was. What it leaves
in the folder: a run for each row and seed, ``ablations.jsonl`` (every metric of every run) and
``table.md`` (mean and standard deviation over the seeds).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from model.checkpoint import load_checkpoint
from model.config import ABLATIONS
from model.corpus import Corpus, load_corpus
from model.predictor import choose_device
from model.training.evaluate import answer, report, spread
from model.training.recipe import Recipe, RecipeError, read_recipe
from model.training.text_states import TextStates
from model.training.train import train

WHOLE = "DPDF-LQ"
"""The row of the model as it is."""

ROWS = (
    WHOLE,
    "w/o LPath",
    "w/o GPath",
    "w/o Gate",
    "w/o DGLQA",
    "DGLQA -> Std.A",
    "LPath CA <-> GPath CA",
)
"""Rows that are made unless others are asked for."""

METRICS = {"mae": "MAE", "corr": "Corr", "acc7": "Acc-7"}
"""What the table shows of each corpus."""

Results = Mapping[tuple[str, str], list[Mapping[str, float]]]
"""Metrics of a (row, corpus), one entry a seed."""


def row_recipe(recipe: Recipe, row: str, seed: int) -> Recipe:
    """The recipe of one row.

    Raises:
        ValueError: no such row.
    """
    if row != WHOLE and row not in ABLATIONS:
        raise ValueError(f"row {row!r} is unknown; known: {[WHOLE, *ABLATIONS]}")
    changes = {} if row == WHOLE else ABLATIONS[row]
    return replace(recipe, changes=recipe.changes | changes, seed=seed)


def run_folder(out: Path, row: str, seed: int) -> Path:
    """Where the run of a row with a seed is."""
    return out / re.sub(r"[^a-z0-9]+", "-", row.lower()).strip("-") / str(seed)


def trained(
    recipe: Recipe,
    features: Path,
    folder: Path,
    device: torch.device,
    encoder: Path | None,
    texts: TextStates,
) -> Path:
    """The checkpoint of a run, which is trained if it is not there yet."""
    if (folder / "record.json").is_file():
        return folder / f"{recipe.name}.safetensors"
    return train(recipe, features, folder, device=device, encoder_folder=encoder, texts=texts)


def table(results: Results, rows: Sequence[str], corpora: Sequence[str]) -> str:
    """Markdown: a line a row, mean ± standard deviation of each metric of each corpus."""
    titles = [f"{corpus} {title}" for corpus in corpora for title in METRICS.values()]
    lines = ["| | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for row in rows:
        cells = []
        for corpus in corpora:
            found = spread(results[row, corpus])
            for mean, deviation in (found[metric] for metric in METRICS):
                cells.append(f"{mean:.3f} ± {deviation:.3f}")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def measured(
    checkpoint: Path,
    corpus: Corpus,
    device: torch.device,
    encoder: Path | None,
    texts: TextStates,
) -> dict[str, float]:
    """A checkpoint's metrics on a corpus that are numbers."""
    model, _ = load_checkpoint(checkpoint, schema=corpus.schema, encoder_folder=encoder)
    model.to(device)
    answers = answer(model, corpus.samples, device=device, scorer=texts.score)
    values = report(corpus, answers)
    return {name: float(v) for name, v in values.items() if isinstance(v, int | float)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the table from the command line."""
    parser = argparse.ArgumentParser(prog="python -m model.training.ablations", description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--features", type=Path, default=Path("build/features"))
    parser.add_argument("--rows", nargs="+", default=list(ROWS), help=f"some of {list(ABLATIONS)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="two or more")
    parser.add_argument(
        "--corpora",
        nargs="+",
        default=["mosi:test", "mosei:test", "spoken:test"],
        help="what to measure on: feature file and split",
    )
    parser.add_argument("--encoder", type=Path, help="folder of the encoder's weights")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    if len(options.seeds) < 2:
        parser.error("a spread needs two seeds or more")
    try:
        recipe = read_recipe(options.recipe)
    except (RecipeError, FileNotFoundError) as error:
        parser.error(str(error))
    device = choose_device(options.device)
    plan = [
        (row, seed, row_recipe(recipe, row, seed)) for seed in options.seeds for row in options.rows
    ]
    corpora = {}
    for choice in options.corpora:
        name, _, split = choice.partition(":")
        corpora[choice] = load_corpus(options.features / f"{name}.npz").split(split or "test")
    results: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    texts = TextStates()
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "ablations.jsonl").open("w") as lines:
        for row, seed, changed in plan:
            folder = run_folder(options.out, row, seed)
            checkpoint = trained(changed, options.features, folder, device, options.encoder, texts)
            for choice, corpus in corpora.items():
                values = measured(checkpoint, corpus, device, options.encoder, texts)
                results.setdefault((row, choice), []).append(values)
                lines.write(
                    json.dumps({"row": row, "seed": seed, "corpus": choice} | values) + "\n"
                )
    made = table(results, options.rows, options.corpora)
    (options.out / "table.md").write_text(made)
    sys.stdout.write(made)


if __name__ == "__main__":
    main()
