"""A batch as one block of bytes, so that it reaches the device in one copy; and its fixed shapes.

On a GPU a batch is padded to one of few shapes. A kernel is then chosen, and a CUDA graph can be
captured, once for each, and the number of launches does not depend on what the clips hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from model.inputs import Sample

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Numbers of clips of the fixed shapes."""

SHORTEST = 16
"""Shortest length of the fixed shapes; the next ones double, up to the schema's longest."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a padded batch.

    Attributes:
        clips: B.
        tokens: T.
        audio: (La, audio columns).
        video: (Lv, video columns).
    """

    clips: int
    tokens: int
    audio: tuple[int, int]
    video: tuple[int, int]

    @property
    def parts(self) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Type and sizes of each field of `ModelInputs`, in the order of falling alignment."""
        clips = self.clips
        return {
            "input_ids": (torch.int64, (clips, self.tokens)),
            "audio": (torch.float32, (clips, *self.audio)),
            "video": (torch.float32, (clips, *self.video)),
            "text_mask": (torch.bool, (clips, self.tokens)),
            "audio_mask": (torch.bool, (clips, self.audio[0])),
            "video_mask": (torch.bool, (clips, self.video[0])),
        }

    @property
    def bytes(self) -> int:
        """Size of the block."""
        return sum(dtype.itemsize * prod(sizes) for dtype, sizes in self.parts.values())


def exact_shape(samples: Sequence[Sample]) -> Shape:
    """The smallest shape that holds the samples (at least one), at least one step of each kind."""
    first = samples[0]
    longest = [
        max(1, *(len(getattr(sample, name)) for sample in samples))
        for name in ("input_ids", "audio", "video")
    ]
    return Shape(
        clips=len(samples),
        tokens=longest[0],
        audio=(longest[1], first.audio.shape[1]),
        video=(longest[2], first.video.shape[1]),
    )


@dataclass(frozen=True, slots=True)
class Longest:
    """Most positions that a model takes of each kind."""

    tokens: int
    audio: int
    video: int


def fixed_shape(samples: Sequence[Sample], longest: Longest) -> Shape:
    """The smallest of the fixed shapes that holds the samples (at least one).

    Sound and pictures are given the same length where both can have it, so that there are fewer
    shapes.

    Raises:
        ValueError: a sample, or their number, is larger than the largest shape.
    """
    exact = exact_shape(samples)
    steps = _rung(max(exact.audio[0], exact.video[0]), ladder(max(longest.audio, longest.video)))
    return Shape(
        clips=_rung(exact.clips, BATCH_SIZES),
        tokens=_rung(exact.tokens, ladder(longest.tokens)),
        audio=(max(exact.audio[0], min(steps, longest.audio)), exact.audio[1]),
        video=(max(exact.video[0], min(steps, longest.video)), exact.video[1]),
    )


def ladder(most: int) -> Sequence[int]:
    """The lengths of the fixed shapes: `SHORTEST`, doubled again and again, and `most`."""
    rungs = []
    rung = SHORTEST
    while rung < most:
        rungs.append(rung)
        rung *= 2
    return [*rungs, most]


def pack(samples: Sequence[Sample], shape: Shape, *, pinned: bool = False) -> Tensor:
    """Pad samples to a shape, all in one block.

    Args:
        samples: at most as many as the shape has clips; clips beyond them are empty.
        shape: at least as long as each sample.
        pinned: in page-locked memory, from where a copy to CUDA need not wait.

    Returns:
        (bytes,) uint8 on the CPU. Padding holds 0 and is masked out.
    """
    block = torch.zeros(shape.bytes, dtype=torch.uint8, pin_memory=pinned)
    fields = {name: view.numpy() for name, view in unpack(block, shape).items()}
    for name, mask in (
        ("input_ids", "text_mask"),
        ("audio", "audio_mask"),
        ("video", "video_mask"),
    ):
        for index, sample in enumerate(samples):
            row = getattr(sample, name)
            fields[name][index, : len(row)] = row
            fields[mask][index, : len(row)] = True
    return block


def unpack(block: Tensor, shape: Shape) -> dict[str, Tensor]:
    """The fields of `ModelInputs` in a block, on whatever device it is; nothing is copied."""
    fields = {}
    start = 0
    for name, (dtype, sizes) in shape.parts.items():
        end = start + dtype.itemsize * prod(sizes)
        fields[name] = block[start:end].view(dtype).view(sizes)
        start = end
    return fields


def _rung(length: int, rungs: Sequence[int]) -> int:
    for rung in rungs:
        if rung >= length:
            return rung
    raise ValueError(f"{length} is more than the {rungs[-1]} of the largest fixed shape")
