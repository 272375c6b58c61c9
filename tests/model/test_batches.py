"""What a batch holds, and how a long one is cut."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from model.corpus import cost
from model.inputs import Sample
from model.training.batches import Batch, Part, epoch_batches, epoch_length, pieces
from model.training.datasets import Augmentation, Spread
from model.training.recipe import CorpusUse, Recipe
from tests.model.conftest import make_sample
from tests.model.runs import tiny_recipe


def _parts(*repeats: float) -> list[Part]:
    """A corpus of 10 items a repeat; an item's score is its name."""
    scores = [np.arange(10 * i, 10 * i + 10, dtype=np.float32) for i in range(len(repeats))]
    return [
        Part(
            CorpusUse(f"corpus-{index}", repeat=repeat),
            [make_sample(i, 1 + i) for i in range(10)],
            np.stack([scores[index], np.full(10, np.nan, np.float32)], axis=1),
            index % 2 == 1,
            Augmentation(),
        )
        for index, repeat in enumerate(repeats)
    ]


def _epoch(seed: int, recipe: Recipe, *repeats: float) -> list[tuple[list[Sample], np.ndarray]]:
    random = np.random.default_rng(seed)
    spread = Spread(np.ones(5, np.float32), np.ones(3, np.float32))
    batches = epoch_batches(_parts(*repeats), recipe, spread, random)
    return [(batch.samples, batch.targets[:, 0]) for batch in batches]


def test_an_epoch_sees_each_corpus_as_often_as_it_says() -> None:
    batches = _epoch(1, tiny_recipe(batch_size=7), 2.0, 0.3, 0.0)
    seen = Counter(int(score) for _, scores in batches for score in scores)
    assert [seen[i] for i in range(10)] == [2] * 10
    assert sum(seen[i] for i in range(10, 20)) == 3
    assert max(seen[i] for i in range(10, 20)) == 1
    assert sum(seen[i] for i in range(20, 30)) == 0


def test_a_fraction_is_drawn_anew_each_epoch() -> None:
    draws = {
        frozenset(
            np.concatenate([scores for _, scores in _epoch(seed, tiny_recipe(), 0.3)]).tolist()
        )
        for seed in range(5)
    }
    assert len(draws) > 1


@pytest.mark.parametrize("repeats", [(1.0,), (0.25,), (2.5, 0.3), (1.1, 3.0)])
@pytest.mark.parametrize("size", [1, 7, 16, 100])
def test_epoch_length_counts_the_batches(repeats: tuple[float, ...], size: int) -> None:
    recipe = tiny_recipe(batch_size=size)
    batches = _epoch(1, recipe, *repeats)
    assert len(batches) == epoch_length(_parts(*repeats), recipe)
    assert all(1 <= len(samples) == len(scores) <= size for samples, scores in batches)


def test_samples_keep_their_labels_and_like_lengths_are_together() -> None:
    batches = _epoch(1, tiny_recipe(batch_size=5), 2.0)
    for samples, scores in batches:
        assert [len(sample.input_ids) for sample in samples] == [1 + int(s) for s in scores]
    spans = sorted((min(map(cost, samples)), max(map(cost, samples))) for samples, _ in batches)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_batches_of_a_kind_hold_clips_with_the_same_modalities() -> None:
    # All cost the same.
    kinds = [(1, 2, 2), (2, 0, 0), (0, 8, 0), (0, 0, 8)]
    samples = [make_sample(i, *kinds[i % 4]) for i in range(64)]
    targets = np.zeros((64, 2), np.float32)
    parts = [Part(CorpusUse("mixed"), samples, targets, squared=False, augmentation=Augmentation())]
    spread = Spread(np.ones(5, np.float32), np.ones(3, np.float32))
    for together in (False, True):
        recipe = tiny_recipe(batch_size=8, batches_of_a_kind=together)
        batches = list(epoch_batches(parts, recipe, spread, np.random.default_rng(1)))
        mixed = [len({sample.modalities for sample in batch.samples}) > 1 for batch in batches]
        assert any(mixed) != together


def test_batches_come_in_random_order() -> None:
    orders = {
        tuple(_epoch(seed, tiny_recipe(batch_size=5), 2.0)[0][1].tolist()) for seed in range(8)
    }
    assert len(orders) > 1


def test_long_texts_are_learned_from_a_few_at_a_time() -> None:
    # 2**20 pairs hold 6 x 400² or 4 x 500²; what is longer than that is learned from alone. Of
    # sound and pictures there may be as many rows as there will.
    lengths = [10] * 60 + [400] * 7 + [500] * 5 + [1025] * 2
    samples = [make_sample(index, length, 2000) for index, length in enumerate(lengths)]
    targets = np.arange(2 * len(lengths), dtype=np.float32).reshape(-1, 2)
    batch = Batch(samples, targets, np.arange(len(lengths)) % 3 == 0)
    parts = list(pieces(batch))
    sizes = [[len(sample.input_ids) for sample in part.samples] for part in parts]
    assert sizes == [[10] * 60, [400] * 6, [400] + [500] * 3, [500] * 2, [1025], [1025]]
    assert [sample for part in parts for sample in part.samples] == samples
    np.testing.assert_array_equal(np.concatenate([part.targets for part in parts]), targets)
    np.testing.assert_array_equal(np.concatenate([p.squared for p in parts]), batch.squared)


def test_a_sample_keeps_its_corpus_s_loss() -> None:
    spread = Spread(np.ones(5, np.float32), np.ones(3, np.float32))
    recipe = tiny_recipe(batch_size=4)
    parts = _parts(1.0, 1.0)
    batches = list(epoch_batches(parts, recipe, spread, np.random.default_rng(1)))
    assert any(len(set(batch.squared.tolist())) == 2 for batch in batches)
    for batch in batches:
        # Scores from 10 on are the second corpus's.
        assert batch.squared.tolist() == (batch.targets[:, 0] >= 10).tolist()
