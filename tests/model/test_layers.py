"""Attention, transformer layers, projections and cross-attention: eq. 1-3, 10-11, 21, 27-28, 30."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from model.layers import (
    Attention,
    ClipSummary,
    CrossTransformer,
    FeedForward,
    ModalityProjection,
    TransformerLayer,
    scaled_attention,
)
from tests.model.conftest import (
    TINY,
    as_array,
    assert_agrees,
    attention,
    cross_attention,
    feed_forward,
    fill_at_random,
    linear,
    part,
    projection,
    put,
    transformer_layer,
    weights_of,
)


def _zero(module: nn.Module) -> None:
    for tensor in module.parameters():
        nn.init.zeros_(tensor)


def test_eq_10_and_11_weigh_values_by_softmax_of_scaled_products() -> None:
    # One head of width 4: the products are divided by 2. 2·ln 3 / 2 = ln 3 against ln 1.
    query = torch.tensor([[[1.0, 0, 0, 0]]])
    key = torch.tensor([[[2 * math.log(3), 5, 0, 0], [0.0, 0, 7, 0]]])
    value = torch.tensor([[[8.0, 0, 0, 4], [4.0, 0, 0, 8]]])
    out = scaled_attention(query, key, value, heads=1)
    torch.testing.assert_close(out, torch.tensor([[[7.0, 0, 0, 5]]]))


def test_eq_10_divides_by_the_width_of_a_head_and_not_of_all_heads() -> None:
    # Two heads of width 1: the first sees ln 3 against ln 1, the second ln 1 against ln 4.
    query = torch.tensor([[[1.0, 1.0]]])
    key = torch.tensor([[[math.log(3), 0.0], [0.0, math.log(4)]]])
    value = torch.tensor([[[4.0, 10.0], [8.0, 20.0]]])
    out = scaled_attention(query, key, value, heads=2)
    torch.testing.assert_close(out, torch.tensor([[[5.0, 18.0]]]))


def test_masked_keys_are_not_attended_to() -> None:
    query = torch.zeros(2, 1, 3)
    key = torch.zeros(2, 3, 3)
    value = torch.tensor([[1.0], [3.0], [99.0]]).expand(2, 3, 3)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    out = scaled_attention(query, key, value, heads=3, key_mask=mask)
    torch.testing.assert_close(out, torch.tensor([[[2.0] * 3], [[1.0] * 3]]))


def test_attention_normalises_query_key_and_value_each_by_itself() -> None:
    layer = Attention(13, heads=3, head_width=5, dropout=0.0)
    fill_at_random(layer)
    query, source = torch.randn(2, 7, 13), torch.randn(2, 11, 13)
    out = layer(query, source)
    assert out.shape == (2, 7, 13)
    for row in range(2):
        expected = attention(weights_of(layer), as_array(query[row]), as_array(source[row]), 3)
        assert_agrees(out[row], expected)


def test_attention_has_an_inner_width_of_heads_times_head_width_and_no_bias_before_it() -> None:
    layer = Attention(128, heads=8, head_width=64, dropout=0.0)
    assert layer.to_query.weight.shape == (512, 128)
    assert layer.to_out.weight.shape == (128, 512)
    assert [name for name, _ in layer.named_parameters() if "to_" in name] == [
        "to_query.weight",
        "to_key.weight",
        "to_value.weight",
        "to_out.weight",
        "to_out.bias",
    ]


def test_feed_forward_is_norm_linear_gelu_linear() -> None:
    layer = FeedForward(13, 11, dropout=0.0)
    fill_at_random(layer)
    x = torch.randn(5, 13)
    assert_agrees(layer(x), feed_forward(weights_of(layer), as_array(x)))


@pytest.mark.parametrize("with_source", [False, True])
def test_transformer_layer_adds_attention_and_then_feed_forward(with_source: bool) -> None:
    layer = TransformerLayer(TINY)
    fill_at_random(layer)
    x = torch.randn(1, 7, 13)
    source = torch.randn(1, 11, 13) if with_source else None
    out = layer(x, source, None)
    other = None if source is None else as_array(source[0])
    expected = transformer_layer(weights_of(layer), as_array(x[0]), other, TINY.heads)
    assert_agrees(out[0], expected)


def test_transformer_layer_of_zero_weights_changes_nothing() -> None:
    layer = TransformerLayer(TINY)
    _zero(layer)
    x = torch.randn(2, 7, 13)
    assert torch.equal(layer(x, None, None), x)


def test_eq_1_and_27_map_columns_to_the_width_behind_the_tokens() -> None:
    config = replace(TINY, width=3, projection_depth=0)
    layer = ModalityProjection(2, 4, config)
    put(
        layer,
        {
            "tokens": [[100, 200, 300], [400, 500, 600]],
            "positions": [[i, i, i] for i in range(6)],
            "project.weight": [[1, 0], [0, 1], [2, 3]],
            "project.bias": [0, 0, 10],
        },
    )
    hidden, mask = layer(torch.tensor([[[5.0, 7.0]]]), torch.tensor([[True]]))
    # FC(5, 7) = (5, 7, 2·5 + 3·7 + 10) at place 2; the tokens are at places 0 and 1.
    torch.testing.assert_close(
        hidden, torch.tensor([[[100.0, 200, 300], [401, 501, 601], [7, 9, 43]]])
    )
    assert mask.tolist() == [[True, True, True]]


@pytest.mark.parametrize("depth", [1, 2])
def test_eq_2_and_28_run_transformer_layers_over_tokens_and_sequence(depth: int) -> None:
    config = replace(TINY, projection_depth=depth)
    layer = ModalityProjection(5, 23, config)
    fill_at_random(layer)
    x = torch.randn(1, 7, 5)
    hidden, _ = layer(x, torch.ones(1, 7, dtype=torch.bool))
    expected = projection(weights_of(layer), as_array(x[0]), TINY.heads, depth)
    assert_agrees(hidden[0], expected)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_eq_3_tokens_are_the_first_rows_of_the_whole(depth: int) -> None:
    layer = ModalityProjection(5, 23, replace(TINY, projection_depth=depth), summary=True)
    fill_at_random(layer)
    x = torch.randn(2, 7, 5)
    mask = torch.arange(7)[None] < torch.tensor([[7], [4]])
    whole = layer(x, mask)[0][:, : TINY.global_tokens]
    torch.testing.assert_close(layer.own_tokens(x, mask), whole)


def test_eq_3_tokens_gather_what_the_sequence_holds_but_not_its_padding() -> None:
    layer = ModalityProjection(5, 23, TINY)
    fill_at_random(layer)
    x = torch.randn(1, 4, 5)
    mask = torch.tensor([[True, True, True, False]])
    tokens = layer(x, mask)[0][:, : TINY.global_tokens]
    padding, real = x.clone(), x.clone()
    padding[0, 3] += 9
    real[0, 2] += 9
    torch.testing.assert_close(layer(padding, mask)[0][:, : TINY.global_tokens], tokens)
    assert not torch.allclose(layer(real, mask)[0][:, : TINY.global_tokens], tokens, atol=1e-2)


def test_a_clip_s_summary_by_hand() -> None:
    config = replace(TINY, width=10, global_tokens=1)
    summary = ClipSummary(2, config)
    fill_at_random(summary)
    for layer in (0, 3):
        put(summary, {f"make.{layer}.weight": torch.eye(10).tolist(), f"make.{layer}.bias": 0.0})
    summary.make[1] = nn.Identity()
    rows = torch.tensor(
        [
            [[1.0, 0], [2, 0], [3, 3], [4, 0], [5, 0], [9, 0], [99, 99]],
            [[7.0, 1], [9, 9], [9, 9], [9, 9], [9, 9], [9, 9], [9, 9]],
        ]
    )
    mask = torch.tensor([[True] * 6 + [False], [True] + [False] * 6])
    found = summary(rows, mask)
    assert found.shape == (2, 1, 10)
    mean, thirds, spread = found[0, 0].split([2, 6, 2])
    assert mean.tolist() == [4, 0.5]
    assert thirds.tolist() == [1.5, 0, 3.5, 1.5, 7, 0]
    # (9 + 4 + 1 + 0 + 1 + 25) / 6 around 4, (5 · 0.25 + 6.25) / 6 around 0.5; the root starts at 0.
    torch.testing.assert_close(
        spread, torch.tensor([6.6667, 1.25]).sqrt() - 0.01, atol=1e-4, rtol=0
    )
    # One row: two thirds are empty, and nothing spreads.
    assert found[1, 0].tolist() == [7, 1, 7, 1, 0, 0, 0, 0, 0, 0]


def test_tokens_start_from_the_summary_of_a_clip_where_they_are_asked_to() -> None:
    layer = ModalityProjection(5, 23, replace(TINY, projection_depth=0), summary=True)
    fill_at_random(layer)
    assert layer.summary is not None
    x, mask = torch.randn(2, 7, 5), torch.ones(2, 7, dtype=torch.bool)
    own = TINY.global_tokens
    expected = layer.tokens + layer.positions[:own] + layer.summary(x, mask)
    torch.testing.assert_close(layer(x, mask)[0][:, :own], expected)
    assert ModalityProjection(5, 23, TINY).summary is None


@pytest.mark.parametrize("depth", [1, 3])
def test_eq_21_25_and_30_cross_attention_asks_the_source_with_the_target(depth: int) -> None:
    layer = CrossTransformer(17, 19, depth, TINY)
    fill_at_random(layer)
    source, target = torch.randn(1, 7, 13), torch.randn(1, 5, 13)
    out = layer(source, target)
    assert out.shape == (1, 1 + 5, 13)
    expected = cross_attention(
        weights_of(layer), as_array(source[0]), as_array(target[0]), TINY.heads, depth
    )
    assert_agrees(out[0], expected)


def test_cross_attention_row_0_depends_on_the_source_alone() -> None:
    layer = CrossTransformer(17, 19, 2, TINY)
    fill_at_random(layer)
    source, target = torch.randn(1, 7, 13), torch.randn(1, 5, 13)
    before = layer(source, target)
    other_target = layer(source, target + torch.randn(1, 5, 13))
    other_source = layer(source + torch.randn(1, 7, 13), target)
    torch.testing.assert_close(other_target[:, 0], before[:, 0])
    torch.testing.assert_close(layer(source, None), before[:, :1])
    assert not torch.allclose(other_target[:, 1:], before[:, 1:], atol=1e-2)
    assert not torch.allclose(other_source[:, 0], before[:, 0], atol=1e-3)


def test_cross_attention_leaves_masked_source_rows_out() -> None:
    layer = CrossTransformer(17, 19, 2, TINY)
    fill_at_random(layer)
    source, target = torch.randn(1, 7, 13), torch.randn(1, 5, 13)
    mask = torch.arange(7)[None] < 4
    torch.testing.assert_close(layer(source, target, mask), layer(source[:, :4], target))


def test_cross_attention_takes_position_rows_by_index() -> None:
    layer = CrossTransformer(7, 7, 0, TINY)
    fill_at_random(layer)
    target = torch.zeros(1, 3, 13)
    out = layer(target, target, target_index=torch.tensor([0, 4, 6]))
    torch.testing.assert_close(out[0, 1:], layer.target_positions[[1, 5, 7]])
    torch.testing.assert_close(out[0, 0], layer.token[0] + layer.target_positions[0])


def test_cross_attention_source_positions_reach_the_answer() -> None:
    layer = CrossTransformer(7, 7, 1, TINY)
    fill_at_random(layer)
    source, target = torch.randn(1, 3, 13), torch.randn(1, 2, 13)
    shifted = layer(source, target, source_index=torch.tensor([2, 3, 4]))
    moved = torch.cat([torch.zeros(1, 2, 13), source], dim=1)
    mask = torch.tensor([[False, False, True, True, True]])
    torch.testing.assert_close(shifted, layer(moved, target, mask))


def test_references_agree_on_a_linear_map_done_by_hand() -> None:
    layer = nn.Linear(2, 1)
    put(layer, {"weight": [[3, 5]], "bias": 7})
    weights = part({f"a.{name}": w for name, w in weights_of(layer).items()}, "a")
    assert linear(weights, np.array([[1.0, 2.0]])).tolist() == [[20.0]]
