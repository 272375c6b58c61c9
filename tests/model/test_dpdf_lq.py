"""The whole model: its size, its masks, its gates, Table 2, and eq. 35."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from model.config import ABLATIONS, PROFILES, DPDFConfig
from model.corpus import without
from model.dpdf_lq import DPDFLQ, ModelOutputs, Standardise, with_changes
from model.inputs import ModelInputs, Sample, collate
from tests.model.conftest import TINY, make_model, make_sample, meta_inputs, put

ENCODERS = ("global_encoder.", "local_encoder.")
HEARING = replace(TINY, local_readout="mean", audio_changes=True, clip_summaries=True)
"""The tiny model read as the shipped profile is, so that every modality reaches the score."""


def _on_meta(config: DPDFConfig) -> DPDFLQ:
    with torch.device("meta"):
        return DPDFLQ(config).eval()


def _millions(model: DPDFLQ, *prefixes: str) -> float:
    names = (name for name, _ in model.named_parameters() if name.startswith(prefixes or ("",)))
    return sum(model.get_parameter(name).numel() for name in names) / 1e6


def _answer(model: DPDFLQ, *samples: Sample) -> ModelOutputs:
    with torch.no_grad():
        outputs: ModelOutputs = model(collate(samples))
    return outputs


def _changed(config: DPDFConfig, row: str) -> DPDFConfig:
    changes: dict[str, Any] = ABLATIONS[row]
    return replace(config, **changes)


# --- size ----------------------------------------------------------------------------------------


def test_paper_mosei_has_the_paper_s_parameters_and_multiply_adds() -> None:
    config = PROFILES["paper-mosei"]
    model = _on_meta(config)
    assert _millions(model) == pytest.approx(224.88, abs=0.03)
    assert _millions(model, *ENCODERS) == pytest.approx(218.96, abs=0.01)
    with FlopCounterMode(display=False) as counter:
        model(meta_inputs(config, steps=50))
    assert counter.get_total_flops() / 2 == pytest.approx(8.70e9, rel=0.02)


def test_paper_mosi_has_the_paper_s_parameters() -> None:
    model = _on_meta(PROFILES["paper-mosi"])
    assert _millions(model) == pytest.approx(224.3, abs=0.1)
    assert _millions(model, *ENCODERS) == pytest.approx(218.96, abs=0.01)


def test_the_default_profile_s_own_tensors_fit_25_mb_in_half_precision() -> None:
    model = _on_meta(PROFILES["default"])
    own = [p.numel() for name, p in model.named_parameters() if name not in model.pinned]
    assert 2 * sum(own) < 25e6
    pinned = [model.get_parameter(name) for name in model.pinned]
    assert all(not p.requires_grad for p in pinned)
    # Two encoders of about 22.6 million parameters, most of them not the checkpoint's.
    assert sum(p.numel() for p in pinned) == pytest.approx(2 * 22.5e6, rel=0.02)


# --- devices -------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [None, *ABLATIONS])
def test_the_whole_forward_runs_on_meta(row: str | None) -> None:
    """A tensor made on the CPU on the way would not combine with those on `meta`."""
    config = HEARING if row is None else _changed(HEARING, row)
    outputs = _on_meta(config)(meta_inputs(config, batch=2, steps=17))
    layers = 0 if config.query_attention == "none" or not config.global_path else 3
    for tensor, shape in (
        (outputs.score, (2,)),
        (outputs.path_gate, (2, 2)),
        (outputs.layer_gates, (2, layers, 3)),
    ):
        assert tensor.device.type == "meta"
        assert tuple(tensor.shape) == shape


@pytest.mark.parametrize("name", PROFILES)
def test_each_profile_runs_on_meta(name: str) -> None:
    config = PROFILES[name]
    outputs = _on_meta(config)(meta_inputs(config, batch=3))
    assert outputs.score.shape == (3,)
    assert outputs.score.device.type == "meta"


def test_the_paper_s_larger_encoder_runs_on_meta() -> None:
    config = replace(PROFILES["paper-mosi"], encoder="bert-large-uncased")
    assert _on_meta(config)(meta_inputs(config)).score.shape == (1,)


def test_training_mode_runs_on_meta() -> None:
    model = _on_meta(replace(HEARING, dropout=0.5)).train()
    assert model(meta_inputs(TINY, batch=2, steps=17)).score.requires_grad


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_cpu_s_scores() -> None:
    samples = [make_sample(1), make_sample(2, 3, 0, 5)]
    expected = _answer(make_model(HEARING), *samples)
    with torch.inference_mode():
        found = make_model(HEARING).to("cuda")(collate(samples).to("cuda")).cpu()
    torch.testing.assert_close(found.score, expected.score, atol=1e-4, rtol=1e-4)


def test_changes_by_hand() -> None:
    rows = torch.tensor([[[1.0, 5], [3, 5], [0, 7]], [[0.0, 0], [0, -1], [2, 2]]])
    found = with_changes(rows)
    assert found[..., :2].equal(rows)
    changes = [[[0, 0], [2, 0], [-3, 2]], [[0, 0], [0, -1], [2, 3]]]
    assert found[..., 2:4].tolist() == changes
    assert found[..., 4:].tolist() == np.abs(changes).tolist()


# --- masks ---------------------------------------------------------------------------------------

MODELS = {
    "token": make_model(TINY),
    "mean": make_model(HEARING),
    "swapped": make_model(replace(HEARING, swap_cross_attention=True)),
    "standard": make_model(replace(HEARING, query_attention="standard")),
    "hyper_modality": make_model(replace(HEARING, query_attention="hyper_modality")),
    "none": make_model(replace(HEARING, query_attention="none")),
    "global": make_model(replace(HEARING, local_path=False)),
}


def _same(found: ModelOutputs, expected: ModelOutputs) -> None:
    for name in ("score", "path_gate", "layer_gates"):
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), atol=1e-5, rtol=0, msg=lambda m: m
        )


clips = st.builds(
    make_sample,
    seed=st.integers(0, 10**6),
    tokens=st.integers(0, 17),
    sounds=st.integers(0, 23),
    frames=st.integers(0, 19),
)


@pytest.mark.parametrize("name", MODELS)
@settings(deadline=None, max_examples=15)
@given(samples=st.lists(clips, min_size=1, max_size=5))
def test_neither_batch_size_nor_company_changes_an_answer(name: str, samples: list[Sample]) -> None:
    together = _answer(MODELS[name], *samples)
    assert bool(together.score.isfinite().all())
    for row, sample in enumerate(samples):
        alone = _answer(MODELS[name], sample)
        _same(
            ModelOutputs(
                together.score[row : row + 1],
                together.path_gate[row : row + 1],
                together.layer_gates[row : row + 1],
            ),
            alone,
        )


def _padded(inputs: ModelInputs, more: int) -> ModelInputs:
    """The batch with `more` steps of rubbish behind every sequence, and rubbish in its padding."""

    def longer(x: Tensor, mask: Tensor, rubbish: float) -> Tensor:
        end = x.new_full((x.shape[0], more, *x.shape[2:]), rubbish)
        kept = mask.reshape(*mask.shape, *[1] * (x.ndim - 2))
        return torch.cat([x.masked_fill(~kept, rubbish), end], dim=1)

    def masked(mask: Tensor) -> Tensor:
        return torch.cat([mask, mask.new_zeros(mask.shape[0], more)], dim=1)

    return ModelInputs(
        input_ids=longer(inputs.input_ids, inputs.text_mask, 199),
        text_mask=masked(inputs.text_mask),
        audio=longer(inputs.audio, inputs.audio_mask, float("nan")),
        audio_mask=masked(inputs.audio_mask),
        video=longer(inputs.video, inputs.video_mask, 1e6),
        video_mask=masked(inputs.video_mask),
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("more", [1, 5])
def test_padding_changes_nothing_whatever_it_holds(name: str, more: int) -> None:
    samples = [make_sample(1), make_sample(2, 12, 0, 2), make_sample(3, 0, 5, 0)]
    inputs = collate(samples)
    with torch.inference_mode():
        _same(MODELS[name](_padded(inputs, more)), MODELS[name](inputs))


# --- gates ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(samples=st.lists(clips, min_size=1, max_size=4))
def test_gates_sum_to_1_and_absent_modalities_have_none(samples: list[Sample]) -> None:
    outputs = _answer(MODELS["mean"], *samples)
    torch.testing.assert_close(outputs.path_gate.sum(dim=-1), torch.ones(len(samples)))
    torch.testing.assert_close(outputs.layer_gates.sum(dim=-1), torch.ones(len(samples), 3))
    assert bool((outputs.layer_gates >= 0).all())
    for gates, sample in zip(outputs.layer_gates, samples, strict=True):
        lengths = len(sample.input_ids), len(sample.audio), len(sample.video)
        for column, length in enumerate(lengths):
            absent = length == 0 and any(lengths)
            assert bool((gates[:, column] == 0).all()) is absent


@pytest.mark.parametrize("modality", ["text", "audio", "video"])
def test_each_modality_reaches_the_score(modality: str) -> None:
    sample, other = make_sample(1), make_sample(2)
    field = "input_ids" if modality == "text" else modality
    exchanged = replace(sample, **{field: getattr(other, field)})
    before, after, gone = _answer(
        MODELS["mean"], sample, exchanged, without(sample, modality)
    ).score.tolist()
    assert abs(after - before) > 1e-3
    assert abs(gone - before) > 1e-3


def test_outputs_on_the_cpu_are_float32() -> None:
    half = torch.arange(12, dtype=torch.bfloat16).view(2, 6)
    gates = half[:, :3].view(2, 1, 3)
    outputs = ModelOutputs(half[:, 5], half[:, 3:5], gates).cpu()
    assert outputs.score.tolist() == [5, 11]
    assert outputs.path_gate.tolist() == [[3, 4], [9, 10]]
    assert outputs.layer_gates.tolist() == [[[0, 1, 2]], [[6, 7, 8]]]
    assert {outputs.score.dtype, outputs.path_gate.dtype, outputs.layer_gates.dtype} == {
        torch.float32
    }


# --- standardisation -----------------------------------------------------------------------------


def test_standardise_takes_mean_and_spread_off_and_puts_the_mean_for_nan() -> None:
    layer = Standardise(2)
    layer.mean.copy_(torch.tensor([2.0, 10.0]))
    layer.std.copy_(torch.tensor([4.0, 5.0]))
    x = torch.tensor([[[6.0, torch.nan], [2.0, 0.0]]])
    torch.testing.assert_close(layer(x), torch.tensor([[[1.0, 0.0], [0.0, -2.0]]]))


def test_a_fresh_standardise_changes_nothing_but_nan() -> None:
    x = torch.tensor([[[6.0, torch.nan]]])
    assert Standardise(2)(x).tolist() == [[[6.0, 0.0]]]


@pytest.mark.parametrize("modality", ["audio", "video"])
def test_a_value_that_is_unknown_counts_as_the_training_mean(modality: str) -> None:
    model, sample = MODELS["mean"], make_sample(1)
    rows: np.ndarray = getattr(sample, modality)
    mean = getattr(model, f"standardise_{modality}").mean.numpy()
    unknown, replaced = rows.copy(), rows.copy()
    unknown[:, 1] = np.nan
    unknown[2, 0] = np.nan
    replaced[:, 1] = mean[1]
    replaced[2, 0] = mean[0]
    found = _answer(model, replace(sample, **{modality: unknown}))
    _same(found, _answer(model, replace(sample, **{modality: replaced})))
    assert abs(float(found.score) - float(_answer(model, sample).score)) > 1e-3


# --- eq. 35 --------------------------------------------------------------------------------------


def test_eq_35_is_one_linear_map_of_the_fused_feature() -> None:
    model = make_model(replace(TINY, head_hidden=None))
    fused: list[Tensor] = []
    assert model.path_gate is not None
    model.path_gate.register_forward_hook(lambda *call: fused.append(call[2][0]))
    put(model, {"head.weight": [[2, -3, *[0] * 11]], "head.bias": 5})
    outputs = _answer(model, make_sample(1), make_sample(2))
    expected = 2 * fused[0][:, 0] - 3 * fused[0][:, 1] + 5
    torch.testing.assert_close(outputs.score, expected)


def test_eq_35_in_the_authors_settings_is_linear_relu_linear() -> None:
    head = make_model(replace(TINY, width=2, channel_reduction=2, head_hidden=3)).head
    put(
        head,
        {
            "0.weight": [[1, 0], [0, 1], [1, 1]],
            "0.bias": [0, 0, -10],
            "3.weight": [[2, 3, 5]],
            "3.bias": 7,
        },
    )
    # ReLU(4, -6, -12) = (4, 0, 0); ReLU(4, 9, 3)
    scores = head(torch.tensor([[4.0, -6.0], [4.0, 9.0]]))
    assert scores.tolist() == [[15.0], [57.0]]


def test_the_score_is_not_clipped() -> None:
    model = make_model(replace(TINY, head_hidden=None))
    put(model, {"head.weight": 0, "head.bias": 17})
    assert _answer(model, make_sample(1)).score.tolist() == [17.0]


# --- Table 2 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ABLATIONS)
def test_table_2_every_row_builds_and_scores(row: str) -> None:
    outputs = _answer(make_model(_changed(HEARING, row)), make_sample(1), make_sample(2, 4, 5, 6))
    assert bool(outputs.score.isfinite().all())
    assert outputs.score[0] != outputs.score[1]
    torch.testing.assert_close(outputs.path_gate.sum(dim=1), torch.ones(2))


@pytest.mark.parametrize(
    ("row", "gone"),
    [
        ("w/o V", ["video"]),
        ("w/o A", ["audio"]),
        ("w/o T", ["text"]),
        ("w/o A&V", ["audio", "video"]),
        ("w/o T&V", ["text", "video"]),
        ("w/o T&A", ["text", "audio"]),
    ],
)
def test_table_2_without_a_modality_the_model_answers_as_if_it_were_absent(
    row: str, gone: list[str]
) -> None:
    sample = make_sample(1)
    outputs = _answer(make_model(_changed(HEARING, row)), sample)
    _same(outputs, _answer(make_model(HEARING), without(sample, *gone)))
    for modality, gate in zip(("text", "audio", "video"), outputs.layer_gates[0].T, strict=True):
        assert bool((gate == 0).all()) is (modality in gone)


def test_table_2_without_text_the_score_is_independent_of_the_text() -> None:
    model = make_model(_changed(HEARING, "w/o T"))
    sample = make_sample(1)
    scores = _answer(
        model,
        sample,
        replace(sample, input_ids=make_sample(2, 13).input_ids),
        without(sample, "text"),
    ).score
    torch.testing.assert_close(scores, scores[:1].expand(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("row", "kept", "gate"),
    [("w/o LPath", "global", [1.0, 0.0]), ("w/o GPath", "local", [0.0, 1.0])],
)
def test_table_2_without_a_path_the_other_is_read_alone(
    row: str, kept: str, gate: list[float]
) -> None:
    model = make_model(_changed(HEARING, row))
    built = {name.removesuffix("_encoder") for name, _ in model.named_children()}
    assert (kept in built, f"{kept}_path" in built) == (True, True)
    lost = "local" if kept == "global" else "global"
    assert not {lost, f"{lost}_path", "path_gate"} & built
    features: list[Tensor] = []
    path = model.get_submodule(f"{kept}_path")
    path.register_forward_hook(lambda *call: features.append(call[2][0]))
    outputs = _answer(model, make_sample(1))
    assert outputs.path_gate.tolist() == [gate]
    torch.testing.assert_close(outputs.score, model.head(features[0]).squeeze(-1))


def test_table_2_without_gate_both_paths_weigh_one_half() -> None:
    model = make_model(_changed(HEARING, "w/o Gate"))
    assert model.path_gate is None
    assert model.global_path is not None
    assert model.local_path is not None
    features: list[Tensor] = []
    for path in model.paths:
        path.register_forward_hook(lambda *call: features.append(call[2][0]))
    outputs = _answer(model, make_sample(1))
    assert outputs.path_gate.tolist() == [[0.5, 0.5]]
    torch.testing.assert_close(
        outputs.score, model.head((features[0] + features[1]) / 2).squeeze(-1)
    )


@pytest.mark.parametrize("row", ["DGLQA -> Std.A", "DGLQA -> AHL"])
def test_table_2_attentions_without_a_gate_report_an_even_one(row: str) -> None:
    outputs = _answer(make_model(_changed(HEARING, row)), make_sample(1), make_sample(2, frames=0))
    third, half = [[1 / 3] * 3] * 3, [[0.5, 0.5, 0.0]] * 3
    torch.testing.assert_close(outputs.layer_gates, torch.tensor([third, half]))
