"""What training adds to a corpus: random changes to the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.corpus import without
from model.inputs import Sample


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations of the training rows, the unit of the augmentation's noise.

    Attributes:
        audio: (audio columns,) float32.
        video: (video columns,) float32.
    """

    audio: NDArray[np.float32]
    video: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes to a training sample; all zero leaves it as it is.

    Noise is given in standard deviations of each column over the training rows.

    Attributes:
        modality_dropout: chance that a modality of a sample that has several is left out; one
            always stays.
        punctuation_dropout: chance that a text loses its punctuation, as spoken words have none.
        punctuation_ids: token ids that count as punctuation.
        still_steps: a face of one row (a picture) is shown for 1..still_steps rows.
        face_jitter: noise on each row of a face.
        face_offset: noise that a clip's rows share.
        voice_jitter: noise on each row of sound.
        voice_offset: noise that a clip's rows share: another voice, another room.
        audio_crop: smallest share of the sound that is kept, from a random start.
    """

    modality_dropout: float = 0.0
    punctuation_dropout: float = 0.0
    punctuation_ids: tuple[int, ...] = ()
    still_steps: int = 1
    face_jitter: float = 0.0
    face_offset: float = 0.0
    voice_jitter: float = 0.0
    voice_offset: float = 0.0
    audio_crop: float = 1.0

    def apply(self, sample: Sample, random: np.random.Generator, spread: Spread) -> Sample:
        """A changed copy of the sample."""
        sample = self._drop_modalities(sample, random)
        audio = self._crop(sample.audio, random)
        video = self._hold(sample.video, random)
        return Sample(
            self._change_text(sample.input_ids, random),
            _noisy(audio, self.voice_jitter, self.voice_offset, spread.audio, random),
            _noisy(video, self.face_jitter, self.face_offset, spread.video, random),
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

    def _hold(self, video: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
        return (
            video.repeat(random.integers(1, self.still_steps + 1), 0) if len(video) == 1 else video
        )


def _noisy(
    rows: NDArray[np.float32],
    jitter: float,
    offset: float,
    spread: NDArray[np.float32],
    random: np.random.Generator,
) -> NDArray[np.float32]:
    """Rows (steps, columns) with noise on each and noise that all share, in units of `spread`."""
    if not len(rows) or not (jitter or offset):
        return rows
    noise = random.normal(0, jitter, rows.shape) + random.normal(0, offset, rows.shape[1])
    return (rows + noise * spread).astype(np.float32)
