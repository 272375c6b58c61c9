"""One block a batch, fixed shapes, and what a batch costs a device: counted on `meta`."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from model.block import (
    BATCH_SIZES,
    SHORTEST,
    Longest,
    exact_shape,
    fixed_shape,
    ladder,
    pack,
    unpack,
)
from model.checkpoint import CheckpointHeader, build_model
from model.inputs import Sample, collate
from model.predictor import Predictor
from tests.model.conftest import SCHEMA, TINY, fill_at_random, make_sample

CONFIG = replace(TINY, local_readout="mean", audio_positions=31, video_positions=37)
LONGEST = Longest(19, 31, 37)
SAMPLES = [make_sample(1), make_sample(2, 13, 0, 5), make_sample(3, 0, 4, 0)]


def predictor(encoder: Path, device: str, precision: Any = "float32") -> Predictor:
    torch.manual_seed(2)
    model = build_model(CONFIG, encoder_folder=encoder)
    fill_at_random(model)
    header = CheckpointHeader("test", "1", CONFIG, SCHEMA)
    return Predictor(model, header, "0" * 64, torch.device(device), precision)


def test_a_block_holds_every_value_in_its_place_and_zeros_elsewhere() -> None:
    shape = fixed_shape(SAMPLES, LONGEST)
    assert shape.clips == 4
    fields = unpack(pack(SAMPLES, shape), shape)
    for name, mask in (("input_ids", "text_mask"), ("audio", "audio_mask")):
        for row, sample in enumerate(SAMPLES):
            values = getattr(sample, name)
            assert fields[mask][row].sum() == len(values)
            np.testing.assert_array_equal(fields[name][row, : len(values)].numpy(), values)
            assert not fields[name][row, len(values) :].any()
            assert not fields[mask][row, len(values) :].any()
        assert not fields[mask][3].any()


def test_an_exact_block_is_what_training_collates() -> None:
    shape = exact_shape(SAMPLES)
    fields, batch = unpack(pack(SAMPLES, shape), shape), collate(SAMPLES)
    for name, tensor in fields.items():
        torch.testing.assert_close(tensor, getattr(batch, name), rtol=0, atol=0)


def test_there_are_few_shapes() -> None:
    assert ladder(100) == [16, 32, 64, 100]
    longest = Longest(256, 500, 500)
    shapes = {
        fixed_shape([make_sample(0, tokens, steps, pictures)] * clips, longest)
        for clips in (1, 3, 16)
        for tokens in range(0, 257, 5)
        for steps in range(0, 501, 17)
        for pictures in (0, steps // 2, steps)
    }
    assert len(shapes) == 3 * len(ladder(256)) * len(ladder(500))
    assert {shape.tokens for shape in shapes} == set(ladder(256))
    assert min(shape.video[0] for shape in shapes) == SHORTEST
    assert fixed_shape([make_sample(0, 1, 1, 1)] * 3, longest).clips in BATCH_SIZES


def test_what_fits_no_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="20 is more than the 19"):
        fixed_shape([make_sample(0, 20, 1, 1)], LONGEST)


def test_fixed_shapes_change_no_score(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resident = predictor(tiny_encoder, "cpu")
    exact = resident.predict(SAMPLES)
    monkeypatch.setattr(
        "model.predictor.exact_shape", lambda samples: fixed_shape(samples, LONGEST)
    )
    for found, expected in zip(resident.predict(SAMPLES), exact, strict=True):
        assert found.raw_score == pytest.approx(expected.raw_score, abs=1e-5)
        assert found.global_weight == pytest.approx(expected.global_weight, abs=1e-5)


def test_half_precision_is_close_and_not_the_same(tiny_encoder: Path) -> None:
    exact, half = (
        predictor(tiny_encoder, "cpu", precision).predict(SAMPLES)
        for precision in ("float32", "bfloat16")
    )
    for found, expected in zip(half, exact, strict=True):
        assert found.raw_score == pytest.approx(expected.raw_score, abs=0.1, rel=0.05)
    assert [one.raw_score for one in half] != [one.raw_score for one in exact]


def test_in_halves_the_linear_layers_are_converted_once(tiny_encoder: Path) -> None:
    half = predictor(tiny_encoder, "cpu", "bfloat16")
    for module in half._model.modules():
        for tensor in module.parameters(recurse=False):
            linear = isinstance(module, nn.Linear)
            assert tensor.dtype == (torch.bfloat16 if linear else torch.float32)


def test_in_halves_an_explanation_s_parts_sum_to_its_score(tiny_encoder: Path) -> None:
    exact = predictor(tiny_encoder, "cpu")
    half = predictor(tiny_encoder, "cpu", "bfloat16")
    for sample in SAMPLES:
        scored, explained = half.explain(sample)
        total = explained.baseline + sum(explained.shapley.values())
        assert total == pytest.approx(scored.raw_score, abs=1e-6)
        (plain,) = half.predict([sample])
        assert scored.raw_score == pytest.approx(plain.raw_score, abs=0.05)
        _, expected = exact.explain(sample)
        np.testing.assert_allclose(explained.tokens, expected.tokens, atol=0.05)


class Counted(TorchDispatchMode):
    """Counts what reaches the device: copies to it, and operations on it that compute."""

    FREE = (
        *("view", "reshape", "flatten", "unflatten", "slice", "select", "transpose", "permute"),
        *("expand", "expand_as", "squeeze", "unsqueeze", "chunk", "split", "t", "dropout"),
    )
    """Views, and what does nothing in evaluation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.copies = 0
        self.launches: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        given = [one for one in args if isinstance(one, torch.Tensor)]
        made = result if isinstance(result, torch.Tensor) else None
        if made is not None and made.device.type == "meta":
            if any(one.device.type == "cpu" and one.dim() for one in given):
                self.copies += 1
            elif name.strip("_") not in self.FREE:
                self.launches[name] += 1
        return result


def counted(resident: Predictor, samples: list[Sample]) -> Counted:
    counter = Counted()
    with counter:
        outputs = resident.launch(samples)
    assert outputs.score.device.type == "meta"
    assert outputs.score.shape == (len(samples),)
    return counter


def test_a_batch_is_one_copy_and_never_a_question_to_the_device(tiny_encoder: Path) -> None:
    """On `meta` a question (`item`, a copy back, an index by a mask) is an error."""
    resident = predictor(tiny_encoder, "meta")
    one = counted(resident, SAMPLES[:1])
    many = counted(resident, [*SAMPLES, *SAMPLES, *SAMPLES])
    assert one.copies == many.copies == 1
    # Nine clips, absent modalities and other lengths take not a launch more.
    assert one.launches == many.launches
    assert 300 < one.launches.total() < 600
