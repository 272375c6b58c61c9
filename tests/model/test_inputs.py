"""Samples, their collation, and the schema that gives each number its meaning."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.inputs import PAD_ID, FeatureSchema, Sample, collate
from tests.model.conftest import SCHEMA, make_sample


def test_collate_pads_with_zeros_and_masks_the_padding() -> None:
    first = Sample(
        np.array([7, 8, 9]),
        np.array([[1, 2]], np.float32),
        np.array([[3], [4]], np.float32),
    )
    second = Sample(
        np.array([5]),
        np.array([[6, 7], [8, np.nan]], np.float32),
        np.empty((0, 1), np.float32),
    )
    batch = collate([first, second])
    assert batch.input_ids.tolist() == [[7, 8, 9], [5, PAD_ID, PAD_ID]]
    assert batch.text_mask.tolist() == [[True, True, True], [True, False, False]]
    torch.testing.assert_close(
        batch.audio,
        torch.tensor([[[1.0, 2], [0, 0]], [[6, 7], [8, torch.nan]]]),
        equal_nan=True,
    )
    assert batch.audio_mask.tolist() == [[True, False], [True, True]]
    assert batch.video.tolist() == [[[3], [4]], [[0], [0]]]
    assert batch.video_mask.tolist() == [[True, True], [False, False]]


def test_a_modality_that_nobody_has_is_one_masked_step() -> None:
    batch = collate([make_sample(1, tokens=0, sounds=0, frames=0)])
    assert batch.input_ids.shape == (1, 1)
    assert batch.audio.shape == (1, 1, 5)
    assert batch.video.shape == (1, 1, 3)
    for mask in (batch.text_mask, batch.audio_mask, batch.video_mask):
        assert mask.tolist() == [[False]]


lengths = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))


@settings(deadline=None, max_examples=50)
@given(st.lists(lengths, min_size=1, max_size=5))
def test_collate_keeps_every_value_of_every_sample(sizes: list[tuple[int, int, int]]) -> None:
    samples = [make_sample(i, *size) for i, size in enumerate(sizes)]
    batch = collate(samples)
    assert batch.input_ids.dtype == torch.int64
    assert batch.audio.dtype == batch.video.dtype == torch.float32
    for row, sample in enumerate(samples):
        for found, mask, given_rows in (
            (batch.input_ids, batch.text_mask, sample.input_ids),
            (batch.audio, batch.audio_mask, sample.audio),
            (batch.video, batch.video_mask, sample.video),
        ):
            np.testing.assert_array_equal(found[row][mask[row]].numpy(), given_rows)
            assert int(mask[row].sum()) == len(given_rows)
            assert not found[row][~mask[row]].any()


def test_to_moves_every_tensor() -> None:
    batch = collate([make_sample(1)]).to("meta")
    assert {getattr(batch, field.name).device.type for field in fields(batch)} == {"meta"}


def test_schema_survives_json() -> None:
    assert FeatureSchema.from_json(SCHEMA.to_json()) == SCHEMA


def test_fingerprint_is_16_hex_digits_and_the_same_for_the_same_meaning() -> None:
    assert len(SCHEMA.fingerprint) == 16
    assert int(SCHEMA.fingerprint, 16) >= 0
    assert replace(SCHEMA).fingerprint == SCHEMA.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        replace(SCHEMA, name="test-2"),
        replace(SCHEMA, tokenizer="1" * 64),
        replace(SCHEMA, max_tokens=19),
        replace(SCHEMA, steps_per_second=20),
        replace(SCHEMA, audio_columns=tuple(reversed(SCHEMA.audio_columns))),
        replace(SCHEMA, video_columns=SCHEMA.video_columns[1:]),
        replace(SCHEMA, audio_rule="louder"),
        replace(SCHEMA, video_rule="slower"),
    ],
)
def test_fingerprint_changes_with_every_field(other: FeatureSchema) -> None:
    assert other.fingerprint != SCHEMA.fingerprint


def test_schema_with_an_unknown_field_is_refused() -> None:
    text = json.dumps(json.loads(SCHEMA.to_json()) | {"colour": "red"})
    with pytest.raises(TypeError, match="colour"):
        FeatureSchema.from_json(text)
