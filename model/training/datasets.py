"""Labelled samples from the feature files of `preprocessing.prepare`, and their augmentation.

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
        """The items with all but these modalities absent; items that have none of them left out."""
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
            for name in ("input_ids", "audio", "video")
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


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes to a training sample; all zero leaves it as it is.

    Attributes:
        modality_dropout: chance that a modality of a sample that has several is left out; one
            always stays.
        punctuation_dropout: chance that a text loses its punctuation, as spoken words have none.
        punctuation_ids: token ids that count as punctuation.
        still_steps: a face of one row (a picture) is shown for 1..still_steps rows.
        face_jitter: standard deviation of the noise on each row's action units (0-5 scale).
        face_offset: standard deviation of the noise that a clip's rows share (0-5 scale).
        audio_crop: smallest share of the sound that is kept, from a random start.
    """

    modality_dropout: float = 0.0
    punctuation_dropout: float = 0.0
    punctuation_ids: tuple[int, ...] = ()
    still_steps: int = 1
    face_jitter: float = 0.0
    face_offset: float = 0.0
    audio_crop: float = 1.0

    def apply(self, sample: Sample, random: np.random.Generator) -> Sample:
        """A changed copy of the sample."""
        sample = self._drop_modalities(sample, random)
        return Sample(
            self._change_text(sample.input_ids, random),
            self._crop(sample.audio, random),
            self._change_face(sample.video, random),
        )

    def _drop_modalities(self, sample: Sample, random: np.random.Generator) -> Sample:
        present = [
            name
            for name, rows in (
                ("text", sample.input_ids),
                ("audio", sample.audio),
                ("video", sample.video),
            )
            if len(rows)
        ]
        kept = random.choice(present)
        dropped = [m for m in present if m != kept and random.random() < self.modality_dropout]
        return without(sample, *dropped)

    def _change_text(
        self, ids: NDArray[np.int64], random: np.random.Generator
    ) -> NDArray[np.int64]:
        if random.random() >= self.punctuation_dropout:
            return ids
        kept = ids[~np.isin(ids, self.punctuation_ids)]
        # A text of nothing but punctuation stays: [CLS] and [SEP] alone say nothing.
        return kept if len(kept) > 2 else ids

    def _crop(self, audio: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
        if not len(audio):
            return audio
        length = max(1, round(len(audio) * random.uniform(self.audio_crop, 1.0)))
        start = random.integers(len(audio) - length + 1)
        return audio[start : start + length]

    def _change_face(
        self, video: NDArray[np.float32], random: np.random.Generator
    ) -> NDArray[np.float32]:
        if not len(video):
            return video
        if len(video) == 1:
            video = video.repeat(random.integers(1, self.still_steps + 1), axis=0)
        if not self.face_jitter and not self.face_offset:
            return video
        noise = random.normal(0, self.face_jitter, video.shape)
        offset = random.normal(0, self.face_offset, (1, video.shape[1]))
        return np.clip(video + noise + offset, 0, 5).astype(np.float32)
