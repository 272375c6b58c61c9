"""Labelled samples of one source, and the file that they are kept in.

A feature file is an ``.npz`` without pickles: per-item arrays ``id``, ``speaker``, ``split``,
``text`` (unicode), ``score`` (float32, -3..3), and for each of ``input_ids``, ``audio``, ``video``
all rows of all items one after another with ``<name>_length`` rows an item; ``schema`` is the
feature schema's JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.config import MODALITIES
from model.inputs import FeatureSchema, Sample

_SEQUENCES = ("input_ids", "audio", "video")

_PER_ITEM = ("scores", "ids", "speakers", "splits", "texts")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Labelled samples of one source.

    Attributes:
        name: the source, e.g. ``"mosi"``.
        schema: the features' meaning.
        samples: n samples.
        scores: (n,) float32 labels, -3..3.
        ids: (n,) unicode.
        speakers: (n,) unicode; empty where the source does not say.
        splits: (n,) unicode: ``train``, ``valid`` or ``test``.
        texts: (n,) unicode.
    """

    name: str
    schema: FeatureSchema
    samples: list[Sample]
    scores: NDArray[np.float32]
    ids: NDArray[np.str_]
    speakers: NDArray[np.str_]
    splits: NDArray[np.str_]
    texts: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.samples)

    def where(self, keep: NDArray[np.bool_]) -> Corpus:
        """The items whose entry in `keep` (n,) is True."""
        chosen = np.flatnonzero(keep)
        return replace(
            self,
            samples=[self.samples[i] for i in chosen],
            scores=self.scores[chosen],
            ids=self.ids[chosen],
            speakers=self.speakers[chosen],
            splits=self.splits[chosen],
            texts=self.texts[chosen],
        )

    def split(self, name: str) -> Corpus:
        """The items of one split."""
        return self.where(self.splits == name)

    def only(self, modalities: Sequence[str]) -> Corpus:
        """The items with all but these modalities absent; items that have none of them left out.

        Raises:
            ValueError: one of them is no modality.
        """
        if unknown := sorted(set(modalities) - set(MODALITIES)):
            raise ValueError(
                f"there is no modality {', '.join(unknown)}: they are {', '.join(MODALITIES)}"
            )
        dropped = [name for name in MODALITIES if name not in modalities]
        samples = [without(sample, *dropped) for sample in self.samples]
        return replace(self, samples=samples).where(np.array([cost(s) > 0 for s in samples]))


def load_corpus(path: Path) -> Corpus:
    """Read a feature file.

    Raises:
        FileNotFoundError: with the command that makes it.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing. Make it with: python -m preprocessing.prepare "
            f"--out {path.parent} {path.stem}"
        )
    with np.load(path, allow_pickle=False) as file:
        rows = {
            name: np.split(file[name], np.cumsum(file[f"{name}_length"])[:-1])
            for name in _SEQUENCES
        }
        samples = [
            Sample(ids.astype(np.int64), audio.astype(np.float32), video.astype(np.float32))
            for ids, audio, video in zip(*rows.values(), strict=True)
        ]
        return Corpus(
            name=path.stem,
            schema=FeatureSchema.from_json(str(file["schema"])),
            samples=samples,
            scores=file["score"].astype(np.float32),
            ids=file["id"],
            speakers=file["speaker"],
            splits=file["split"],
            texts=file["text"],
        )


def cost(sample: Sample) -> int:
    """About how much a sample costs to compute: its rows, text weighing most; 0 = nothing there."""
    return 4 * len(sample.input_ids) + len(sample.audio) + len(sample.video)


def without(sample: Sample, *modalities: str) -> Sample:
    """The sample with some of ``text``, ``audio``, ``video`` absent."""
    fields = {"text": "input_ids", "audio": "audio", "video": "video"}
    return replace(sample, **{fields[m]: getattr(sample, fields[m])[:0] for m in modalities})


def save_corpus(path: Path, corpus: Corpus) -> None:
    """Write a feature file; it is replaced at once, and its folder is made."""
    arrays: dict[str, NDArray[np.generic]] = {
        "schema": np.array(corpus.schema.to_json()),
        "id": corpus.ids,
        "speaker": corpus.speakers,
        "split": corpus.splits,
        "text": corpus.texts,
        "score": corpus.scores,
    }
    for field in _SEQUENCES:
        rows = [getattr(sample, field) for sample in corpus.samples]
        arrays[field] = np.concatenate(rows)
        arrays[f"{field}_length"] = np.array([len(row) for row in rows], np.int64)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    partial.replace(path)


def joined(corpora: Sequence[Corpus]) -> Corpus:
    """The items of all, in order, under the first one's name and schema."""
    arrays = {
        name: np.concatenate([getattr(corpus, name) for corpus in corpora]) for name in _PER_ITEM
    }
    samples = [sample for corpus in corpora for sample in corpus.samples]
    return replace(corpora[0], samples=samples, **arrays)
