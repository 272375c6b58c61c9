"""The text encoders: pinned weights, what is refused, and low-rank changes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel

from model.config import ENCODERS
from model.encoder import (
    EncoderUnavailable,
    LowRankChange,
    add_low_rank_changes,
    build_encoder,
    encoder_folder,
    load_encoder,
    merge_low_rank_changes,
)
from tests.model.conftest import fill_at_random

SHAPE = ENCODERS["tiny-bert-test"]
IDS = torch.tensor([[3, 5, 7, 11], [13, 17, 19, 23]])


def _tiny(seed: int = 1) -> BertModel:
    torch.manual_seed(seed)
    encoder = build_encoder(SHAPE, pooler=False)
    encoder.train(mode=False)
    return encoder


def _states(encoder: nn.Module) -> Tensor:
    with torch.no_grad():
        states: Tensor = encoder(input_ids=IDS).last_hidden_state
    return states


# --- shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_has_the_shape_its_entry_says(name: str) -> None:
    shape = ENCODERS[name]
    with torch.device("meta"):
        encoder = build_encoder(shape, pooler=True)
    assert encoder.get_parameter("embeddings.word_embeddings.weight").shape == (
        shape.vocabulary,
        shape.hidden,
    )
    assert encoder.get_parameter("embeddings.position_embeddings.weight").shape == (
        shape.positions,
        shape.hidden,
    )
    inner = f"encoder.layer.{shape.layers - 1}.intermediate.dense.weight"
    assert encoder.get_parameter(inner).shape == (shape.feed_forward, shape.hidden)
    assert encoder.config.num_hidden_layers == shape.layers
    assert encoder.config.num_attention_heads == shape.heads


def test_the_pooler_is_there_only_when_asked_for() -> None:
    assert any("pooler" in name for name, _ in build_encoder(SHAPE, pooler=True).named_parameters())
    assert not any("pooler" in name for name, _ in _tiny().named_parameters())


# --- attention -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("learns", "expected"), [(True, torch.float32), (False, torch.bfloat16)], ids=str
)
@pytest.mark.parametrize("kind", ["built", "loaded"])
def test_only_attention_with_a_gradient_goes_in_float32(
    kind: str,
    expected: torch.dtype,
    tiny_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    learns: bool,
) -> None:
    if kind == "built":
        encoder = _tiny()
    else:
        encoder = load_encoder("tiny-bert-test", pooler=False, folder=tiny_encoder)
    seen = []
    attend = functional.scaled_dot_product_attention

    def noted(query: Tensor, *others: Any, **how: Any) -> Tensor:
        seen.append(query.dtype)
        return attend(query, *others, **how)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", noted)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.set_grad_enabled(learns):
        states = encoder(input_ids=IDS).last_hidden_state
    assert seen == [expected] * SHAPE.layers
    plain = _states(encoder)
    assert torch.allclose(states.float(), plain, atol=0.1)


# --- published weights ---------------------------------------------------------------------------


def test_the_packaged_encoder_is_found_and_has_the_pinned_digest() -> None:
    folder = encoder_folder("all-MiniLM-L6-v2")
    assert folder is not None
    encoder = load_encoder("all-MiniLM-L6-v2", pooler=False)
    assert not encoder.training
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert _states(encoder).shape == (2, 4, 384)


@pytest.mark.parametrize("name", ["bert-base-uncased", "tiny-bert-test"])
def test_encoders_that_no_package_carries_have_no_folder(name: str) -> None:
    assert encoder_folder(name) is None


def test_a_damaged_copy_of_a_pinned_encoder_is_refused(tmp_path: Path) -> None:
    source = encoder_folder("all-MiniLM-L6-v2")
    assert source is not None
    shutil.copy(source / "config.json", tmp_path)
    with (source / "model.safetensors").open("rb") as file:
        (tmp_path / "model.safetensors").write_bytes(file.read(1 << 20))
    with pytest.raises(EncoderUnavailable, match=r"is not the pinned all-MiniLM-L6-v2: sha256"):
        load_encoder("all-MiniLM-L6-v2", pooler=False, folder=tmp_path)


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "bert-base-uncased", "tiny-bert-test"])
def test_a_folder_without_an_encoder_is_refused_with_what_was_expected(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(
        EncoderUnavailable, match=rf"expected config\.json and model\.safetensors of {name}"
    ) as caught:
        load_encoder(name, pooler=False, folder=tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_folder_with_a_configuration_and_no_weights_is_refused(tmp_path: Path) -> None:
    source = encoder_folder("all-MiniLM-L6-v2")
    assert source is not None
    shutil.copy(source / "config.json", tmp_path)
    with pytest.raises(EncoderUnavailable, match=r"expected config\.json and model\.safetensors"):
        load_encoder("all-MiniLM-L6-v2", pooler=False, folder=tmp_path)


def test_a_folder_with_another_encoder_is_refused(tiny_encoder: Path) -> None:
    with pytest.raises(EncoderUnavailable, match="does not have bert-base-uncased's shape"):
        load_encoder("bert-base-uncased", pooler=False, folder=tiny_encoder)


def test_an_encoder_from_a_folder_has_the_folder_s_weights(tiny_encoder: Path) -> None:
    first, second = (
        load_encoder("tiny-bert-test", pooler=False, folder=tiny_encoder) for _ in range(2)
    )
    torch.manual_seed(11)
    saved = build_encoder(SHAPE, pooler=False)
    for name, tensor in saved.named_parameters():
        assert torch.equal(first.get_parameter(name), tensor)
    assert torch.equal(_states(first), _states(second))


def test_loading_writes_nothing_to_the_terminal(
    tiny_encoder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    load_encoder("tiny-bert-test", pooler=True, folder=tiny_encoder)
    assert capfd.readouterr() == ("", "")


# --- low-rank changes ----------------------------------------------------------------------------


def test_a_low_rank_change_adds_u_v() -> None:
    change = LowRankChange(2, 3, 1)
    with torch.no_grad():
        change.up.copy_(torch.tensor([[2.0], [3.0]]))
        change.down.copy_(torch.tensor([[5.0, 7, 11]]))
    expected = torch.tensor([[11.0, 14, 22], [15, 21, 34]])
    weight = torch.tensor([[1.0, 0, 0], [0, 0, 1]])
    torch.testing.assert_close(change(weight), expected)


def test_low_rank_changes_start_as_none() -> None:
    encoder = _tiny()
    before = _states(encoder)
    add_low_rank_changes(encoder, 3)
    torch.testing.assert_close(_states(encoder), before, atol=1e-6, rtol=0)


def test_the_first_gradient_of_a_change_is_not_zero() -> None:
    change = LowRankChange(5, 3, 2)
    (change(torch.zeros(5, 3)) - 1).square().sum().backward()
    assert change.up.grad is not None
    assert bool(change.up.grad.any())


def test_only_changes_biases_and_layer_norms_are_trained() -> None:
    encoder = _tiny()
    add_low_rank_changes(encoder, 3)
    trained = {name for name, p in encoder.named_parameters() if p.requires_grad}
    frozen = {name for name, p in encoder.named_parameters() if not p.requires_grad}
    assert all(name.startswith("encoder.") for name in trained)
    assert {name.rsplit(".", 1)[1] for name in trained} == {"up", "down", "bias", "weight"}
    assert {name for name in trained if name.endswith("weight")} == {
        f"encoder.layer.{layer}.{part}.LayerNorm.weight"
        for layer in range(SHAPE.layers)
        for part in ("attention.output", "output")
    }
    matrices = {name for name in frozen if name.endswith("parametrizations.weight.original")}
    # Query, key, value, output, and the feed-forward part's two.
    assert len(matrices) == 6 * SHAPE.layers
    assert all(name.startswith("embeddings.") for name in frozen - matrices)


def test_merged_changes_give_the_same_states_without_parametrisations() -> None:
    encoder = _tiny()
    plain = _states(encoder)
    add_low_rank_changes(encoder, 3)
    fill_at_random(encoder)
    before = _states(encoder)
    assert not torch.allclose(before, plain, atol=0.1)
    merge_low_rank_changes(encoder)
    torch.testing.assert_close(_states(encoder), before, atol=1e-5, rtol=0)
    assert not [name for name, _ in encoder.named_parameters() if "parametrizations" in name]


def test_merging_an_encoder_without_changes_does_nothing() -> None:
    encoder = _tiny()
    before = _states(encoder)
    merge_low_rank_changes(encoder)
    assert torch.equal(_states(encoder), before)
