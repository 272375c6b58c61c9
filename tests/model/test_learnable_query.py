"""The DGLQA encoder and what Table 2 puts in its place: eq. 4-19."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from model.config import QueryAttention
from model.learnable_query import (
    ChannelAttention,
    GatedQueryAttention,
    HyperModalityAttention,
    LearnableQueryEncoder,
    StandardQueryAttention,
    TextLevels,
    masked_gate,
)
from tests.model.conftest import (
    TINY,
    Array,
    Weights,
    as_array,
    assert_agrees,
    attend,
    fill_at_random,
    gelu,
    layer_norm,
    linear,
    part,
    put,
    sigmoid,
    softmax,
    transformer_layer,
    weights_of,
)

ALL = torch.ones(1, 3, dtype=torch.bool)


def _tokens(seed: int, batch: int = 1) -> list[Tensor]:
    """Query, text, audio and video, each (batch, 2, 13)."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, 2, 13, generator=generator) for _ in range(4)]


def _gated_attention(
    weights: Weights, query: Array, modalities: list[Array]
) -> tuple[Array, Array]:
    """Eq. 5-15 for one clip that has all modalities."""
    heads, inner = TINY.heads, TINY.heads * TINY.query_head_width
    con = np.concatenate(
        [layer_norm(part(weights, f"norms.{i}"), x) for i, x in enumerate(modalities)], axis=1
    )
    q = linear(part(weights, "to_query"), layer_norm(part(weights, "norm_query"), query))
    k = linear(part(weights, "to_key"), con).reshape(len(con), 3, inner)
    v = linear(part(weights, "to_value"), con).reshape(len(con), 3, inner)
    gate = softmax(linear(part(weights, "to_gate"), con.mean(axis=0)))
    fused = sum(gate[m] * attend(q, k[:, m], v[:, m], heads) for m in range(3))
    return query + linear(part(weights, "to_out"), np.asarray(fused)), gate


def _channel_attention(weights: Weights, query: Array) -> Array:
    """Eq. 16-19."""
    z = query.mean(axis=0)
    s = sigmoid(linear(part(weights, "weigh.2"), gelu(linear(part(weights, "weigh.0"), z))))
    return query * s + query


def test_eq_4_keeps_the_text_and_what_each_of_n_minus_1_layers_makes_of_it() -> None:
    levels = TextLevels(replace(TINY, query_depth=4))
    fill_at_random(levels)
    text = torch.randn(1, 2, 13)
    found = levels(text)
    assert len(found) == 4
    weights = weights_of(levels)
    expected = as_array(text[0]) + weights["positions"]
    for index, level in enumerate(found):
        assert_agrees(level[0], expected)
        if index < 3:
            layer = part(weights, f"layers.{index}")
            expected = transformer_layer(layer, expected, None, TINY.heads)


def _constant_gated_attention() -> GatedQueryAttention:
    """DGLQA of width 1 a head whose normed tokens are all 1, so that maps are row sums."""
    config = replace(TINY, width=2, heads=1, query_head_width=2)
    layer = GatedQueryAttention(config)
    put(layer, {f"norms.{i}.weight": 0 for i in range(3)})
    put(layer, {f"norms.{i}.bias": 1 for i in range(3)})
    # Rows 0-1 are the text's values, 2-3 the audio's, 4-5 the video's; column 0 reads the text,
    # column 3 the audio.
    gates = (math.log(1), math.log(2), math.log(5))
    put(
        layer,
        {
            "to_value.weight": [[v, 0, 0, 0, 0, 0] for v in (8, 80, 16, 160, 24, 240)],
            "to_gate.weight": [[0, 0, 0, g, 0, 0] for g in gates],
            "to_out.weight": [[1, 0], [0, 1]],
            "to_out.bias": [0.5, -0.5],
        },
    )
    return layer


def test_eq_12_to_15_weigh_each_modality_by_the_softmax_gate_and_add_to_the_query() -> None:
    layer = _constant_gated_attention()
    query = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    zeros = torch.zeros(1, 2, 2)
    out, gate = layer(query, zeros, zeros, zeros, ALL)
    torch.testing.assert_close(gate, torch.tensor([[1 / 8, 2 / 8, 5 / 8]]))
    # 8/8 + 16·2/8 + 24·5/8 = 20, ten times that in the second channel, and FC's bias.
    torch.testing.assert_close(out, query + torch.tensor([20.5, 199.5]))


def test_eq_13_gives_an_absent_modality_nothing_and_its_share_to_the_others() -> None:
    layer = _constant_gated_attention()
    zeros = torch.zeros(1, 2, 2)
    out, gate = layer(zeros, zeros, zeros, zeros, torch.tensor([[True, False, True]]))
    torch.testing.assert_close(gate, torch.tensor([[1 / 6, 0.0, 5 / 6]]))
    torch.testing.assert_close(out[0, 0], torch.tensor([8 / 6 + 120 / 6 + 0.5, 1280 / 6 - 0.5]))


def test_eq_12_averages_over_positions() -> None:
    config = replace(TINY, width=2, heads=1, query_head_width=2)
    layer = GatedQueryAttention(config)
    put(layer, {"to_gate.weight": [[math.log(3), 0, 0, 0, 0, 0], [0] * 6, [0] * 6]})
    # Two channels are normed to (1, -1) or (-1, 1); three of four positions say 1: mean 1/2.
    text = torch.tensor([[[1000.0, -1000], [1000, -1000], [1000, -1000], [-1000, 1000]]])
    other = torch.zeros(1, 4, 2)
    _, gate = layer(other, text, other, other, ALL)
    root = math.sqrt(3)
    torch.testing.assert_close(gate, torch.tensor([[root, 1.0, 1.0]]) / (root + 2))


def test_eq_5_to_9_keys_and_values_of_each_modality_are_maps_of_the_whole_concatenation() -> None:
    layer = _constant_gated_attention()
    # The text's first value now reads the video (column 4 of Con: t, t, a, a, v, v).
    reads_video = [[0, 0, 0, 0, 1, 0], *[[0] * 6] * 5]
    put(layer, {"norms.2.bias": 7, "to_value.weight": reads_video, "to_out.bias": 0})
    zeros = torch.zeros(1, 2, 2)
    out, gate = layer(zeros, zeros, zeros, zeros, ALL)
    torch.testing.assert_close(out[0, 0], torch.stack([gate[0, 0] * 7, gate[0, 0] * 0]))


def test_eq_5_to_15_agree_with_the_reference() -> None:
    layer = GatedQueryAttention(TINY)
    fill_at_random(layer)
    query, *modalities = _tokens(1, batch=2)
    out, gate = layer(query, *modalities, ALL.expand(2, 3))
    for row in range(2):
        expected, expected_gate = _gated_attention(
            weights_of(layer), as_array(query[row]), [as_array(x[row]) for x in modalities]
        )
        assert_agrees(gate[row], expected_gate)
        assert_agrees(out[row], expected)


def test_eq_6_to_8_are_linear_maps_without_bias_from_d_and_3d() -> None:
    layer = GatedQueryAttention(replace(TINY, width=128, heads=8, query_head_width=16))
    assert layer.to_query.weight.shape == (128, 128)
    assert layer.to_key.weight.shape == (384, 384)
    assert layer.to_value.weight.shape == (384, 384)
    assert layer.to_gate.weight.shape == (3, 384)
    assert {layer.to_query.bias, layer.to_key.bias, layer.to_value.bias, layer.to_gate.bias} == {
        None
    }


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ([True, True, True], [0.2, 0.3, 0.5]),
        ([True, True, False], [0.4, 0.6, 0.0]),
        ([False, True, False], [0.0, 1.0, 0.0]),
        ([False, False, False], [0.2, 0.3, 0.5]),
    ],
)
def test_masked_gate(present: list[bool], expected: list[float]) -> None:
    logits = torch.tensor([[0.2, 0.3, 0.5]]).log()
    gate = masked_gate(logits, torch.tensor([present]))
    torch.testing.assert_close(gate, torch.tensor([expected]))


def test_eq_16_to_19_scale_channels_by_the_query_s_mean_and_keep_the_query() -> None:
    layer = ChannelAttention(replace(TINY, width=4, channel_reduction=4))
    # z = (2, 7, 0, 0); W_1 z = 3·2 + 2·7 - 20 = 0 and GELU(0) = 0, so s = σ(b_2).
    put(
        layer,
        {
            "weigh.0.weight": [[3, 2, 0, 0]],
            "weigh.0.bias": -20,
            "weigh.2.weight": 5,
            "weigh.2.bias": [math.log(3), 0, -math.log(3), 100],
        },
    )
    query = torch.tensor([[[1.0, 6.0, 4.0, 1.0], [3.0, 8.0, -4.0, -1.0]]])
    # s = (3/4, 1/2, 1/4, 1) and LQ + LQ ⊙ s
    expected = torch.tensor([[[1.75, 9.0, 5.0, 2.0], [5.25, 12.0, -5.0, -2.0]]])
    torch.testing.assert_close(layer(query), expected)


def test_eq_16_to_19_agree_with_the_reference_and_reduce_by_r() -> None:
    layer = ChannelAttention(TINY)
    fill_at_random(layer)
    assert layer.get_parameter("weigh.0.weight").shape == (13 // 4, 13)
    query = torch.randn(2, 5, 13)
    for row, found in enumerate(layer(query)):
        expected = _channel_attention(weights_of(layer), as_array(query[row]))
        assert_agrees(found, expected)


def test_eq_4_to_19_layer_i_reads_text_level_i_minus_1_and_the_query_before_it() -> None:
    encoder = LearnableQueryEncoder(TINY)
    fill_at_random(encoder)
    _, text, audio, video = _tokens(2)
    query, level, gates = encoder(text, audio, video, ALL)
    weights = weights_of(encoder)
    levels = [as_array(text[0]) + weights["text_levels.positions"]]
    for index in range(TINY.query_depth - 1):
        layer = part(weights, f"text_levels.layers.{index}")
        levels.append(transformer_layer(layer, levels[-1], None, TINY.heads))
    expected = weights["query"]
    for index in range(TINY.query_depth):
        expected, gate = _gated_attention(
            part(weights, f"attentions.{index}"),
            expected,
            [levels[index], as_array(audio[0]), as_array(video[0])],
        )
        assert_agrees(gates[0, index], gate)
        expected = _channel_attention(part(weights, f"channels.{index}"), expected)
    assert_agrees(query[0], expected)
    assert_agrees(level[0], levels[-1])


def test_the_query_starts_as_ones_in_the_authors_settings_and_random_in_the_paper() -> None:
    ones = LearnableQueryEncoder(replace(TINY, query_start="ones")).query
    random = LearnableQueryEncoder(replace(TINY, query_start="random")).query
    assert torch.equal(ones, torch.ones(2, 13))
    assert len(set(random.flatten().tolist())) == 26
    assert ones.requires_grad
    assert random.requires_grad


def test_table_2_standard_attention_asks_all_tokens_of_present_modalities_at_once() -> None:
    layer = StandardQueryAttention(TINY)
    fill_at_random(layer)
    query, text, audio, video = _tokens(4)
    weights = weights_of(layer)

    def expected(*modalities: Tensor) -> Array:
        tokens = np.concatenate([as_array(x[0]) for x in modalities])
        source = layer_norm(part(weights, "norm_source"), tokens)
        q = layer_norm(part(weights, "norm_query"), as_array(query[0]))
        found = attend(
            linear(part(weights, "to_query"), q),
            linear(part(weights, "to_key"), source),
            linear(part(weights, "to_value"), source),
            TINY.heads,
        )
        return as_array(query[0]) + linear(part(weights, "to_out"), found)

    out, gate = layer(query, text, audio, video, ALL)
    assert_agrees(out[0], expected(text, audio, video))
    torch.testing.assert_close(gate, torch.full((1, 3), 1 / 3))
    out, gate = layer(query, text, audio, video, torch.tensor([[True, False, True]]))
    assert_agrees(out[0], expected(text, video))
    torch.testing.assert_close(gate, torch.tensor([[0.5, 0.0, 0.5]]))


def test_table_2_hyper_modality_learning_asks_audio_and_video_with_the_text() -> None:
    layer = HyperModalityAttention(TINY)
    fill_at_random(layer)
    query, text, audio, video = _tokens(5)
    weights = weights_of(layer)
    normed = [
        layer_norm(part(weights, f"norms.{i}"), as_array(x[0]))
        for i, x in enumerate((text, audio, video))
    ]

    def found(index: int) -> Array:
        return attend(
            linear(part(weights, "to_query"), normed[0]),
            linear(part(weights, f"to_key.{index}"), normed[1 + index]),
            linear(part(weights, f"to_value.{index}"), normed[1 + index]),
            TINY.heads,
        )

    out, _ = layer(query, text, audio, video, ALL)
    expected = as_array(query[0]) + linear(part(weights, "to_out"), found(0) + found(1))
    assert_agrees(out[0], expected)
    out, _ = layer(query, text, audio, video, torch.tensor([[True, True, False]]))
    expected = as_array(query[0]) + linear(part(weights, "to_out"), found(0))
    assert_agrees(out[0], expected)


def test_table_2_without_dglqa_the_query_is_the_mean_of_the_present_tokens() -> None:
    encoder = LearnableQueryEncoder(replace(TINY, query_attention="none"))
    fill_at_random(encoder)
    _, text, audio, video = _tokens(6)
    query, level, gates = encoder(text, audio, video, ALL)
    torch.testing.assert_close(query, (level + audio + video) / 3)
    query, _, _ = encoder(text, audio, video, torch.tensor([[True, False, True]]))
    torch.testing.assert_close(query, (level + video) / 2)
    assert gates.shape == (1, 0, 3)


@pytest.mark.parametrize("kind", ["standard", "hyper_modality", "none"])
def test_table_2_attentions_ignore_what_an_absent_modality_holds(kind: QueryAttention) -> None:
    encoder = LearnableQueryEncoder(replace(TINY, query_attention=kind))
    fill_at_random(encoder)
    _, text, audio, video = _tokens(7)
    present = torch.tensor([[True, True, False]])
    before = encoder(text, audio, video, present)
    after = encoder(text, audio, video + 1, present)
    torch.testing.assert_close(after[0], before[0])
