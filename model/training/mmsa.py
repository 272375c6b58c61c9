"""Feature files of MMSA (Mao et al., ACL 2022): ``aligned_50.pkl``, ``unaligned_50.pkl``.

    python -m model.training.mmsa unaligned_50.pkl --out build/features/mosei-unaligned.npz

The published benchmarks are passed around as pickles of this form, a dict of splits, each a dict of
columns over n clips:

    raw_text            n strings
    text_bert           (n, 3, tokens): WordPiece ids, mask, token types, of bert-base-uncased
    audio, vision       (n, steps, columns), followed by rows of zeros
    audio_lengths,      n numbers of true steps; aligned files have none
    vision_lengths
    regression_labels   n scores in [-3, 3]
    id                  n names, ``video$_$clip``

What else is in them (``text`` word vectors, class labels, annotations) is not needed. Columns of
sound and face have no names and no units in these files, so weights trained on them answer to
these files only; the converted file's schema says so.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.corpus import Corpus, save_corpus
from model.inputs import FeatureSchema, Sample
from model.training.metrics import MOST
from model.training.plain_pickle import load_plain

SPLITS = ("train", "valid", "test")


class MMSAFormatError(ValueError):
    """The file's values are not in MMSA's form; says which."""


@dataclass(frozen=True, slots=True)
class MMSASplit:
    """The n clips of one split.

    Attributes:
        samples: n samples; a modality without a single value is absent.
        scores: (n,) float32 labels in [-3, 3].
        ids: n names.
        texts: n transcripts.
    """

    samples: list[Sample]
    scores: NDArray[np.float32]
    ids: list[str]
    texts: list[str]


def read_mmsa(path: Path) -> dict[str, MMSASplit]:
    """Read a feature file; nothing in it is executed.

    Rows without a value: COVAREP writes -inf where a logarithm has no value, trackers write rows of
    zeros where there is no face. Both become NaN, which the model replaces by the column's
    mean. With lengths, rows are cut there. Without (aligned files), rows of zeros before the
    first and after the last filled row are padding and are cut. A modality of nothing but zeros
    is absent.

    Returns:
        The splits in the file, by name.

    Raises:
        RefusedPickleError: the file holds more than plain values, see `load_plain`.
        MMSAFormatError: the values are not in MMSA's form.
        OSError: the file cannot be read.
    """
    content = load_plain(path)
    if not isinstance(content, Mapping) or not any(name in content for name in SPLITS):
        raise MMSAFormatError(f"{path} holds no dict with the splits {', '.join(SPLITS)}")
    return {
        name: _Columns(content[name], f"{path}: {name}").split()
        for name in SPLITS
        if name in content
    }


class _Columns:
    """The columns of one split, checked as they are taken."""

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, Mapping):
            raise MMSAFormatError(f"{where} is a {type(values).__name__}, not a dict")
        self._values = values
        self._where = where
        self._count = len(self._numbers("regression_labels", 1))

    def split(self) -> MMSASplit:
        ids = self._token_ids()
        audio, video = self._sequences("audio"), self._sequences("vision")
        scores = self._numbers("regression_labels", 1)
        if self._count and not np.abs(scores).max() <= MOST:
            raise self._wrong("regression_labels", "scores outside [-3, 3]")
        return MMSASplit(
            samples=[Sample(*parts) for parts in zip(ids, audio, video, strict=True)],
            scores=scores.astype(np.float32),
            ids=self._strings("id"),
            texts=self._strings("raw_text"),
        )

    def _token_ids(self) -> list[NDArray[np.int64]]:
        """WordPiece ids of each clip without their padding."""
        bert = self._numbers("text_bert", 3)
        if bert.shape[1] != 3:
            raise self._wrong("text_bert", f"shape {bert.shape}, not (n, 3, tokens)")
        # Some of the published files hold them as float32.
        whole = np.isfinite(bert).all() and bool((bert == np.floor(bert)).all())
        if not whole or (bert < 0).any():
            raise self._wrong("text_bert", "values that are no token ids")
        ids, mask = bert[:, 0].astype(np.int64), bert[:, 1]
        if not np.isin(mask, (0, 1)).all() or (np.diff(mask, axis=1) > 0).any():
            raise self._wrong("text_bert", "masks that are not ones followed by zeros")
        lengths = mask.sum(axis=1).astype(int)
        return [row[:length] for row, length in zip(ids, lengths, strict=True)]

    def _sequences(self, key: str) -> list[NDArray[np.float32]]:
        """Rows of each clip, (steps, columns)."""
        padded = self._numbers(key, 3)
        lengths: Sequence[int | None] = [None] * self._count
        if f"{key}_lengths" in self._values:
            stated = self._numbers(f"{key}_lengths", 1)
            fitting = (stated >= 0) & (stated <= padded.shape[1]) & (stated == np.floor(stated))
            if not fitting.all():
                raise self._wrong(f"{key}_lengths", f"lengths that are not 0..{padded.shape[1]}")
            lengths = [int(length) for length in stated]
        return [_true_rows(rows, length) for rows, length in zip(padded, lengths, strict=True)]

    def _numbers(self, key: str, dimensions: int) -> NDArray[Any]:
        """(n, ...) numbers."""
        value = self._column(key)
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise self._wrong(key, f"rows of unequal lengths: {error}") from error
        if array.dtype.kind not in "iuf" or array.ndim != dimensions:
            raise self._wrong(key, f"{array.ndim}-dimensional values of type {array.dtype}")
        if key != "regression_labels":
            self._check_count(key, len(array))
        return array

    def _strings(self, key: str) -> list[str]:
        values = list(self._column(key))
        self._check_count(key, len(values))
        for value in values:
            if not isinstance(value, str):
                raise self._wrong(key, f"{type(value).__name__} among strings")
        return [str(value) for value in values]

    def _column(self, key: str) -> Any:
        if key not in self._values:
            raise MMSAFormatError(f"{self._where} has no {key!r}")
        value = self._values[key]
        if not isinstance(value, list | tuple | np.ndarray):
            raise self._wrong(key, f"a {type(value).__name__}")
        if isinstance(value, np.ndarray) and not value.ndim:
            raise self._wrong(key, "a single value")
        return value

    def _check_count(self, key: str, count: int) -> None:
        if count != self._count:
            raise self._wrong(key, f"{count} entries for {self._count} regression_labels")

    def _wrong(self, key: str, found: str) -> MMSAFormatError:
        return MMSAFormatError(f"{self._where}[{key!r}] holds {found}")


def _true_rows(rows: NDArray[Any], length: int | None) -> NDArray[np.float32]:
    """Give the rows of one clip that are no padding, NaN where there is no value."""
    values = np.array(rows[:length], np.float32)
    values[~np.isfinite(values)] = np.nan
    filled = (np.nan_to_num(values) != 0).any(axis=1)
    values[~filled] = np.nan
    places = np.flatnonzero(filled)
    if not len(places):
        return values[:0]
    return values if length is not None else values[places[0] : places[-1] + 1]


def save_features(splits: Mapping[str, MMSASplit], name: str, target: Path) -> None:
    """Write splits as the feature file that training reads, see `model.corpus`.

    Args:
        splits: what `read_mmsa` gave; at least one clip in all.
        name: of the features, for the schema, e.g. ``"mmsa-mosei-unaligned_50"``.
        target: the ``.npz``; its folder is made.
    """
    parts = list(splits.values())
    samples = [sample for part in parts for sample in part.samples]
    ids = [clip for part in parts for clip in part.ids]
    schema = FeatureSchema(
        name=name,
        tokenizer="the file's own ids of bert-base-uncased",
        max_tokens=max(len(sample.input_ids) for sample in samples),
        steps_per_second=0,
        audio_columns=tuple(f"audio_{i}" for i in range(samples[0].audio.shape[1])),
        video_columns=tuple(f"vision_{i}" for i in range(samples[0].video.shape[1])),
        audio_rule="as published in MMSA's format; columns by position, steps without a rate",
        video_rule="as published in MMSA's format; columns by position, steps without a rate",
    )
    corpus = Corpus(
        name=target.stem,
        schema=schema,
        samples=samples,
        scores=np.concatenate([part.scores for part in parts]).astype(np.float32),
        ids=np.array(ids, np.str_),
        speakers=np.array([clip.split("$_$")[0] for clip in ids], np.str_),
        splits=np.repeat(np.array(list(splits), np.str_), [len(p.samples) for p in parts]),
        texts=np.array([text for part in parts for text in part.texts], np.str_),
    )
    save_corpus(target, corpus)


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert a file for training; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m model.training.mmsa", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    options = parser.parse_args(arguments)
    try:
        splits = read_mmsa(options.file)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    save_features(splits, f"mmsa-{options.out.stem}", options.out)
    counts = ", ".join(f"{len(part.samples)} {name}" for name, part in splits.items())
    sys.stderr.write(f"{options.out}: {counts}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
