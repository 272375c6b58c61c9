"""What the model takes: one `Sample` a clip, and the padded, masked `ModelInputs` of a batch.

`preprocessing` makes samples, training and serving collate them with the same `collate`,
so that a clip meets the model in the same form on the day it is learned from and the day it is
scored. An absent modality is a sequence of length 0: it has no valid position in its mask.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.block import exact_shape, pack, unpack

PAD_ID = 0
"""Token id that fills padded text positions; BERT's [PAD]. Masked, so its value never counts."""


@dataclass(frozen=True, slots=True)
class FeatureSchema:
    """The meaning of every number a checkpoint was trained on.

    A checkpoint stores its schema and refuses to load where another one is in force: a column
    that changed its meaning is an error, never a silently different score.

    Attributes:
        name: extractor and version, e.g. ``"dpdf-1"``.
        tokenizer: sha256 of the WordPiece vocabulary file (hex).
        max_tokens: longest text in WordPiece tokens, [CLS] and [SEP] included.
        steps_per_second: rate of the audio and video rows (1/s).
        audio_columns: names of the audio columns, in order.
        video_columns: names of the video columns, in order.
        audio_rule: how sound becomes rows (levels, pooling), in words and numbers.
        video_rule: how frames become rows (sampling, tracker), in words and numbers.
    """

    name: str
    tokenizer: str
    max_tokens: int
    steps_per_second: int
    audio_columns: tuple[str, ...]
    video_columns: tuple[str, ...]
    audio_rule: str
    video_rule: str

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits of the sha256 over the canonical JSON of all fields."""
        return _fingerprint(self)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> FeatureSchema:
        """Read what `to_json` wrote.

        Raises:
            TypeError: a field is missing or unknown.
        """
        values: dict[str, Any] = json.loads(text)
        fields_read: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**fields_read)


@cache
def _fingerprint(schema: FeatureSchema) -> str:
    # Every answer names it.
    return hashlib.sha256(schema.to_json().encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Sample:
    """One clip, unpadded.

    Attributes:
        input_ids: (tokens,) int64 WordPiece ids with [CLS] and [SEP]; length 0 = no text.
        audio: (steps, audio columns) float32 in the schema's units; length 0 = no sound.
        video: (steps, video columns) float32 in the schema's units; length 0 = no face.
            NaN marks a value the extractor could not give; the model replaces it by the
            column's training mean.
    """

    input_ids: NDArray[np.int64]
    audio: NDArray[np.float32]
    video: NDArray[np.float32]

    @property
    def modalities(self) -> frozenset[str]:
        """Those of ``text``, ``audio`` and ``video`` that the clip has."""
        lengths = {"text": len(self.input_ids), "audio": len(self.audio), "video": len(self.video)}
        return frozenset(name for name, length in lengths.items() if length)


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """A batch of B clips, padded to common lengths; masks are True where a value is real.

    Attributes:
        input_ids: (B, T) int64.
        text_mask: (B, T) bool.
        audio: (B, La, audio columns) float32, NaN only where the extractor had no value.
        audio_mask: (B, La) bool.
        video: (B, Lv, video columns) float32, NaN only where the extractor had no value.
        video_mask: (B, Lv) bool.
    """

    input_ids: Tensor
    text_mask: Tensor
    audio: Tensor
    audio_mask: Tensor
    video: Tensor
    video_mask: Tensor

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> ModelInputs:
        """The same batch on another device."""
        return ModelInputs(
            **{
                field.name: getattr(self, field.name).to(device, non_blocking=non_blocking)
                for field in fields(self)
            }
        )


def collate(samples: Sequence[Sample]) -> ModelInputs:
    """Pad samples to the longest of each modality (at least one step) and mask the padding.

    Args:
        samples: at least one; all with the same numbers of columns.

    Returns:
        The batch on the CPU. Padding holds 0 and is masked out.
    """
    shape = exact_shape(samples)
    return ModelInputs(**unpack(pack(samples, shape), shape))
