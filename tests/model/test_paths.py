"""The two paths and the gate between them: eq. 3, 20-34."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.config import DPDFConfig
from model.global_path import DepthwiseConvolution, GlobalPath
from model.local_path import LocalPath, SpatialAttention
from model.path_gate import PathGate
from tests.model.conftest import (
    TINY,
    Array,
    Weights,
    as_array,
    assert_agrees,
    cross_attention,
    fill_at_random,
    gelu,
    layer_norm,
    linear,
    part,
    projection,
    put,
    sigmoid,
    weights_of,
)

TEXT_WIDTH = 16


@contextmanager
def _calls(module: nn.Module) -> Iterator[list[tuple[tuple[Any, ...], dict[str, Any], Any]]]:
    """Arguments, keywords and result of each call of a module."""
    seen: list[tuple[tuple[Any, ...], dict[str, Any], Any]] = []
    hook = module.register_forward_hook(
        lambda _, args, kwargs, out: seen.append((args, kwargs, out)), with_kwargs=True
    )
    try:
        yield seen
    finally:
        hook.remove()


def _sequences(
    text: int = 7, audio: int = 11, video: int = 3, batch: int = 1
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The paths' arguments, nothing padded."""
    generator = torch.Generator().manual_seed(5)
    arguments: list[Tensor] = []
    for length, columns in ((text, TEXT_WIDTH), (audio, 5), (video, 3)):
        arguments.append(torch.randn(batch, length, columns, generator=generator))
        arguments.append(torch.ones(batch, length, dtype=torch.bool))
    return arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]


def _global(config: DPDFConfig = TINY) -> GlobalPath:
    path = GlobalPath(TEXT_WIDTH, config)
    fill_at_random(path)
    return path.eval()


def _local(config: DPDFConfig = TINY) -> LocalPath:
    path = LocalPath(TEXT_WIDTH, config)
    fill_at_random(path)
    return path.eval()


# --- global path ---------------------------------------------------------------------------------


def test_eq_3_the_global_path_keeps_the_l_t_tokens_of_each_projected_sequence() -> None:
    path = _global()
    arguments = _sequences()
    with _calls(path.query_encoder) as calls:
        path(*arguments)
    (h_text, h_audio, h_video, present), _, _ = calls[0]
    weights = weights_of(path)
    for name, found, x in (
        ("text", h_text, arguments[0]),
        ("audio", h_audio, arguments[2]),
        ("video", h_video, arguments[4]),
    ):
        assert found.shape == (1, 2, 13)
        expected = projection(part(weights, f"project_{name}"), as_array(x[0]), TINY.heads, 1)
        assert_agrees(found[0], expected[:2])
    assert present.tolist() == [[True, True, True]]


def test_eq_20_convolves_each_channel_with_kernel_3_then_gelu_then_batch_norm() -> None:
    layer = DepthwiseConvolution(2).eval()
    put(
        layer,
        {
            "convolution.weight": [[[100, 200, 400]], [[-1, 0, 0]]],
            "convolution.bias": [0, 0],
            "norm.weight": [3, 1],
            "norm.bias": [7, 0],
        },
    )
    layer.get_buffer("norm.running_mean").copy_(torch.tensor([500.0, 0.0]))
    layer.get_buffer("norm.running_var").copy_(torch.tensor([100.0, 1.0]) - 1e-5)
    # Channel 0, zeros beside it: 2+8, 1+4+12, 2+6 hundreds, which GELU leaves; then less 500, by
    # 10, times 3, plus 7. Channel 1 looks one place back: 0, -1, -2 before GELU.
    query = torch.tensor([[[1.0, 1], [2, 2], [3, 3]]])
    back = [x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in (0, -1, -2)]
    expected = torch.tensor([[[157.0, back[0]], [367.0, back[1]], [97.0, back[2]]]])
    torch.testing.assert_close(layer(query), expected)


def test_eq_20_batch_norm_takes_statistics_a_channel_over_batch_and_positions() -> None:
    layer = DepthwiseConvolution(13).train()
    out = layer(torch.randn(5, 7, 13))
    torch.testing.assert_close(out.mean(dim=(0, 1)), torch.zeros(13), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        out.var(dim=(0, 1), unbiased=False), torch.ones(13), rtol=0.1, atol=0
    )


def _depthwise(weights: Weights, x: Array) -> Array:
    """Eq. 20 in evaluation mode."""
    kernel = weights["convolution.weight"][:, 0, :]
    padded = np.pad(x, ((1, 1), (0, 0)))
    convolved: Array = np.asarray(sum(kernel[:, k] * padded[k : k + len(x)] for k in range(3)))
    norm = part(weights, "norm")
    centred = gelu(convolved + weights["convolution.bias"]) - norm["running_mean"]
    out: Array = centred / np.sqrt(norm["running_var"] + 1e-5) * norm["weight"] + norm["bias"]
    return out


@pytest.mark.parametrize("swap", [False, True])
def test_eq_20_to_25_refine_the_query_by_the_text(swap: bool) -> None:
    path = _global(replace(TINY, swap_cross_attention=swap))
    with _calls(path.query_encoder) as calls:
        f_global, gates = path(*_sequences())
    query_n, level, gates_n = calls[0][2]
    weights = weights_of(path)
    text = as_array(level[0])

    def cross(query: Array) -> Array:
        source, target = (text, query) if swap else (query, text)
        rows = cross_attention(part(weights, "cross"), source, target, TINY.heads, 2)
        return np.asarray(rows[0])

    query = _depthwise(part(weights, "convolution"), as_array(query_n[0]))
    found = np.tile(cross(query), (len(query), 1))
    gate = sigmoid(linear(part(weights, "gate"), np.concatenate([query, text, found], axis=1)))
    assert_agrees(f_global[0], cross(gate * query + (1 - gate) * text))
    torch.testing.assert_close(gates, gates_n)


def test_eq_21_and_25_use_one_cross_attention_block_with_the_query_as_source() -> None:
    path = _global()
    assert path.cross is not None
    with _calls(path.cross) as calls, _calls(path.query_encoder) as queries:
        f_global, _ = path(*_sequences())
    level = queries[0][2][1]
    assert len(calls) == 2
    for (source, target), _, _ in calls:
        # Row 0 does not depend on the target, h_t: it is spared.
        assert target is None
        assert not torch.equal(source, level)
    torch.testing.assert_close(f_global, calls[1][2][:, 0])


def test_eq_22_to_24_gate_of_three_quarters_mixes_query_and_text() -> None:
    path = _global()
    put(path, {"gate.weight": 0, "gate.bias": math.log(3)})
    assert path.cross is not None
    with _calls(path.cross) as calls, _calls(path.query_encoder) as queries:
        path(*_sequences())
    level = queries[0][2][1]
    (refined, _), (mixed, _) = calls[0][0], calls[1][0]
    torch.testing.assert_close(mixed, 0.75 * refined + 0.25 * level)


def test_table_2_without_global_cross_attention_the_mean_of_query_and_text_is_read() -> None:
    path = _global(replace(TINY, global_cross_attention=False))
    assert path.cross is None
    put(path, {"gate.weight": 0, "gate.bias": 0})
    with _calls(path.convolution) as convolved, _calls(path.query_encoder) as queries:
        f_global, _ = path(*_sequences())
    level = queries[0][2][1]
    mixed = 0.5 * convolved[0][2] + 0.5 * level
    torch.testing.assert_close(f_global, (mixed.mean(dim=1) + level.mean(dim=1)) / 2)


# --- local path ----------------------------------------------------------------------------------


def _constant_spatial_attention() -> SpatialAttention:
    """Normed values are 1 everywhere; the map is then 5 a place and the values 11 and 13."""
    layer = SpatialAttention(2)
    put(
        layer,
        {
            "norm.weight": 0,
            "norm.bias": 1,
            "point.weight": [[2, 3], [5, 0]],
            "point.bias": 0,
            "depthwise.weight": [[[1, 2, 4]], [[1, 0, 0]]],
            "depthwise.bias": 0,
            "value.weight": [[11, 0], [0, 13]],
            "value.bias": 0,
            "project.weight": [[1, 0], [0, 1]],
            "project.bias": [0, 1000],
        },
    )
    return layer


def test_eq_26_multiplies_a_separable_convolution_along_time_with_the_values() -> None:
    layer = _constant_spatial_attention()
    out = layer(torch.randn(1, 3, 2), torch.ones(1, 3, dtype=torch.bool))
    # Channel 0: (2+4)·5, (1+2+4)·5, (1+2)·5, each times 11; channel 1: 0, 5, 5 times 13.
    torch.testing.assert_close(out, torch.tensor([[[330.0, 1000], [385, 1065], [165, 1065]]]))


def test_eq_26_sees_padding_as_nothing() -> None:
    layer = _constant_spatial_attention()
    out = layer(torch.randn(1, 3, 2), torch.tensor([[True, True, False]]))
    torch.testing.assert_close(out[:, :2], torch.tensor([[[330.0, 1000], [165, 1065]]]))


def _spatial_attention(weights: Weights, x: Array) -> Array:
    """Eq. 26 for one clip without padding."""
    normed = layer_norm(part(weights, "norm"), x)
    point = np.pad(linear(part(weights, "point"), normed), ((1, 1), (0, 0)))
    kernel = weights["depthwise.weight"][:, 0, :]
    attended = sum(kernel[:, k] * point[k : k + len(x)] for k in range(3))
    attended = np.asarray(attended) + weights["depthwise.bias"]
    return linear(part(weights, "project"), attended * linear(part(weights, "value"), normed))


def test_eq_26_agrees_with_the_reference() -> None:
    layer = SpatialAttention(3)
    fill_at_random(layer)
    video = torch.randn(1, 7, 3)
    out = layer(video, torch.ones(1, 7, dtype=torch.bool))
    assert_agrees(out[0], _spatial_attention(weights_of(layer), as_array(video[0])))


def _local_rows(path: LocalPath, arguments: tuple[Tensor, ...]) -> Array:
    """All rows of eq. 30's cross-attention for one clip without padding."""
    weights = weights_of(path)
    text, audio, video = (as_array(arguments[i][0]) for i in (0, 2, 4))
    h_text = projection(part(weights, "project_text"), text, TINY.heads, 1)
    h_audio = projection(part(weights, "project_audio"), audio, TINY.heads, 1)
    attended = _spatial_attention(part(weights, "spatial"), video)
    h_video = projection(part(weights, "project_video"), attended, TINY.heads, 1)
    # Sound has 2 + 23 places, face rows follow from place 25 on, however long the sound is.
    places = [*range(len(h_audio)), *range(25, 25 + len(h_video))]
    joint = np.concatenate([h_audio, h_video])
    return cross_attention(part(weights, "cross"), h_text, joint, TINY.heads, 2, places)


def test_eq_26_to_30_read_the_cross_attention_s_own_token() -> None:
    path = _local(replace(TINY, local_readout="token"))
    arguments = _sequences()
    f_local, _ = path(*arguments)
    assert_agrees(f_local[0], _local_rows(path, arguments)[0])


def test_eq_30_with_readout_mean_averages_the_token_and_all_target_rows() -> None:
    path = _local(replace(TINY, local_readout="mean"))
    arguments = _sequences()
    f_local, _ = path(*arguments)
    assert_agrees(f_local[0], _local_rows(path, arguments).mean(axis=0))


def test_eq_29_gives_sound_and_face_rows_fixed_places_in_the_position_table() -> None:
    path = _local()
    with _calls(path.cross) as calls:
        path(*_sequences(audio=11, video=3))
    (_, joint, _), keywords, _ = calls[0]
    assert joint.shape == (1, 2 + 11 + 2 + 3, 13)
    assert keywords["target_index"].tolist() == [*range(13), *range(25, 30)]
    assert path.cross.target_positions.shape == (1 + 2 + 23 + 2 + 19, 13)
    assert path.cross.source_positions.shape == (1 + 2 + 17, 13)


@pytest.mark.parametrize("swap", [False, True])
def test_eq_29_padding_the_sound_does_not_move_the_face(swap: bool) -> None:
    path = _local(replace(TINY, local_readout="mean", swap_cross_attention=swap))
    text, text_mask, audio, audio_mask, video, video_mask = _sequences()
    padded = torch.cat([audio, torch.full((1, 7, 5), 9.0)], dim=1)
    padded_mask = torch.cat([audio_mask, torch.zeros(1, 7, dtype=torch.bool)], dim=1)
    before = path(text, text_mask, audio, audio_mask, video, video_mask)
    after = path(text, text_mask, padded, padded_mask, video, video_mask)
    torch.testing.assert_close(after, before)


def test_eq_30_voice_and_face_reach_f_local_by_the_mean_but_not_by_the_token() -> None:
    text, text_mask, audio, audio_mask, video, video_mask = _sequences()
    readouts: tuple[tuple[Literal["token", "mean"], bool], ...] = (("token", False), ("mean", True))
    for readout, reached in readouts:
        path = _local(replace(TINY, local_readout=readout))
        before, _ = path(text, text_mask, audio, audio_mask, video, video_mask)
        for other, _ in (
            path(text, text_mask, audio + 1, audio_mask, video, video_mask),
            path(text, text_mask, audio, audio_mask, video.flip(1), video_mask),
        ):
            assert torch.allclose(other, before, atol=1e-5) is not reached


def test_table_2_swapped_the_text_asks_voice_and_face() -> None:
    path = _local(replace(TINY, swap_cross_attention=True))
    arguments = _sequences()
    with _calls(path.cross) as calls:
        f_local, _ = path(*arguments)
    (joint, h_text, joint_mask), keywords, out = calls[0]
    assert joint.shape[1] == 2 + 11 + 2 + 3
    assert h_text.shape[1] == 2 + 7
    assert joint_mask.shape == (1, 18)
    assert keywords["source_index"].tolist() == [*range(13), *range(25, 30)]
    torch.testing.assert_close(f_local, out[:, 0])


# --- between the paths ---------------------------------------------------------------------------


def test_eq_31_to_34_weigh_the_paths_by_a_softmax_over_both() -> None:
    gate = PathGate(2)
    # FC reads Z = [f_global, f_local]: 2·1 + 3·4 - 14 = 0 and 0, so that GELU gives 0; then ln 3
    # against ln 1.
    put(
        gate,
        {
            "weigh.0.weight": [[2, 0, 0, 3], [0, 0, 0, 0]],
            "weigh.0.bias": [-14, 0],
            "weigh.2.weight": 5,
            "weigh.2.bias": [math.log(3), 0],
        },
    )
    fused, weights = gate(torch.tensor([[1.0, 8.0]]), torch.tensor([[16.0, 4.0]]))
    torch.testing.assert_close(weights, torch.tensor([[0.75, 0.25]]))
    torch.testing.assert_close(fused, torch.tensor([[4.75, 7.0]]))


def test_eq_32_and_33_pass_through_gelu() -> None:
    gate = PathGate(2)
    put(
        gate,
        {
            "weigh.0.weight": 0,
            "weigh.0.bias": [-1, 1],
            "weigh.2.weight": [[1, 0], [0, 1]],
            "weigh.2.bias": 0,
        },
    )
    _, weights = gate(torch.zeros(1, 2), torch.zeros(1, 2))
    # GELU(1) - GELU(-1) = Φ(1) + Φ(-1) = 1
    torch.testing.assert_close(weights, torch.tensor([[1.0, math.e]]) / (1 + math.e))


def test_eq_31_to_34_agree_with_the_reference() -> None:
    gate = PathGate(13)
    fill_at_random(gate)
    f_global, f_local = torch.randn(5, 13), torch.randn(5, 13)
    fused, found = gate(f_global, f_local)
    weights = weights_of(gate)
    z = gelu(linear(part(weights, "weigh.0"), np.hstack([as_array(f_global), as_array(f_local)])))
    logits = linear(part(weights, "weigh.2"), z)
    share = sigmoid(logits[:, :1] - logits[:, 1:])
    assert_agrees(found, np.hstack([share, 1 - share]))
    assert_agrees(fused, share * as_array(f_global) + (1 - share) * as_array(f_local))
