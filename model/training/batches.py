"""What a step of training learns from: an epoch's batches, and their parts where texts are long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.corpus import cost
from model.inputs import Sample
from model.training.datasets import Augmentation, Spread
from model.training.recipe import CorpusUse, Recipe

MOST_PAIRS = 2**20
"""Most pairs of tokens, samples times the square of the longest text, that encoders learn from at
once.

What they keep until the gradient has passed grows with the tokens, and attention's part, which is a
number a pair for every head and layer, with their square. 64 texts of 128 tokens are learned whole.
"""


@dataclass(frozen=True, slots=True)
class Part:
    """What a run learns from one corpus.

    Attributes:
        use: how often.
        samples: n samples.
        targets: (n, 2) float32: the label and the teacher's score, -3..3, NaN where there is none;
            every row has one of them.
        squared: whether errors are squared.
        augmentation: what happens to each sample each time.
    """

    use: CorpusUse
    samples: list[Sample]
    targets: NDArray[np.float32]
    squared: bool
    augmentation: Augmentation


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one step, of any parts.

    Attributes:
        samples: B samples, augmented.
        targets: (B, 2) float32 as in `Part`.
        squared: (B,) bool: whose errors are squared.
    """

    samples: list[Sample]
    targets: NDArray[np.float32]
    squared: NDArray[np.bool_]


def epoch_batches(
    parts: Sequence[Part], recipe: Recipe, spread: Spread, random: np.random.Generator
) -> Iterator[Batch]:
    """One epoch's batches: each corpus as often as it says, clips of like length together."""
    items: list[tuple[Sample, NDArray[np.float32], bool]] = []
    for part in parts:
        whole, share = divmod(part.use.repeat, 1)
        drawn = [np.arange(len(part.samples))] * int(whole)
        drawn.append(random.permutation(len(part.samples))[: round(share * len(part.samples))])
        items += [
            (
                part.augmentation.apply(part.samples[i], random, spread),
                part.targets[i],
                part.squared,
            )
            for i in np.concatenate(drawn)
        ]
    order = random.permutation(len(items))
    stretch = 50 * recipe.batch_size
    batches = []
    for start in range(0, len(order), stretch):
        near = sorted(order[start : start + stretch], key=lambda i: likeness(items[i][0], recipe))
        batches += [near[i : i + recipe.batch_size] for i in range(0, len(near), recipe.batch_size)]
    for index in random.permutation(len(batches)):
        samples, targets, squared = zip(*(items[i] for i in batches[index]), strict=True)
        yield Batch(list(samples), np.stack(targets), np.array(squared))


def likeness(sample: Sample, recipe: Recipe) -> tuple[str, int]:
    """What samples of a batch have in common: their cost, and first, if asked for, their kind."""
    kind = "+".join(sorted(sample.modalities)) if recipe.batches_of_a_kind else ""
    return kind, cost(sample)


def epoch_length(parts: Sequence[Part], recipe: Recipe) -> int:
    """How many batches `epoch_batches` yields."""
    items = 0
    for part in parts:
        whole, share = divmod(part.use.repeat, 1)
        items += int(whole) * len(part.samples) + round(share * len(part.samples))
    return -(-items // recipe.batch_size)


def pieces(batch: Batch) -> Iterator[Batch]:
    """A batch in parts of at most `MOST_PAIRS`: mostly itself, of long texts a few at a time.

    Their gradients add up to the batch's, but for batch norm, which sees each part by itself.
    """
    lengths = [len(sample.input_ids) for sample in batch.samples]
    start = 0
    for end in range(1, len(lengths) + 1):
        more = lengths[start : end + 1]
        if end == len(lengths) or len(more) * max(more) ** 2 > MOST_PAIRS:
            part = slice(start, end)
            yield Batch(batch.samples[part], batch.targets[part], batch.squared[part])
            start = end
