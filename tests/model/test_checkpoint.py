"""Checkpoints: what they hold, that they come back as they were, and what is refused."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from model.checkpoint import (
    FORMAT,
    CheckpointError,
    CheckpointHeader,
    build_model,
    file_sha256,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from model.config import DPDFConfig
from model.dpdf_lq import DPDFLQ
from model.encoder import EncoderUnavailable
from model.inputs import collate
from tests.model.conftest import SCHEMA, TINY, fill_at_random, make_sample

RANKED = replace(TINY, encoder_rank=3)
HEADER = CheckpointHeader("test-model", "1.2.3", RANKED, SCHEMA)


def _trained(config: DPDFConfig, encoder: Path) -> DPDFLQ:
    """A model whose own tensors are all other than fresh."""
    model = build_model(config, encoder_folder=encoder)
    fill_at_random(model, scale=0.3)
    return model.eval()


@pytest.fixture
def saved(tmp_path: Path, tiny_encoder: Path) -> tuple[Path, DPDFLQ]:
    model = _trained(RANKED, tiny_encoder)
    path = tmp_path / "folder" / "model.safetensors"
    save_checkpoint(path, model, HEADER)
    return path, model


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in list(file.keys())}


def _rewritten(path: Path, change: Callable[[dict[str, str]], object]) -> Path:
    """A copy of a checkpoint with its metadata changed."""
    metadata = HEADER.to_metadata()
    change(metadata)
    other = path.with_name("other.safetensors")
    save_file(_tensors(path), other, metadata=metadata)
    return other


# --- what it holds -------------------------------------------------------------------------------


def test_round_trip_gives_each_own_tensor_in_half_precision(
    saved: tuple[Path, DPDFLQ], tiny_encoder: Path
) -> None:
    path, model = saved
    loaded, header = load_checkpoint(path, schema=SCHEMA, encoder_folder=tiny_encoder)
    assert header == HEADER
    assert not loaded.training
    for name, tensor in model.named_parameters():
        expected = tensor if name in model.pinned else tensor.half().float()
        assert torch.equal(loaded.get_parameter(name), expected), name
    for name, buffer in model.named_buffers():
        assert torch.equal(loaded.get_buffer(name), buffer), name
    inputs = collate([make_sample(1), make_sample(2, 3, 5, 0)])
    with torch.no_grad():
        torch.testing.assert_close(loaded(inputs).score, model(inputs).score, atol=1e-2, rtol=1e-2)


def test_round_trip_of_a_model_that_trains_its_encoders_whole(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    model = _trained(TINY, tiny_encoder)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model, replace(HEADER, config=TINY))
    # It holds the encoders itself, so that none need be found.
    loaded, _ = load_checkpoint(path, schema=SCHEMA, encoder_folder=tmp_path / "nowhere")
    assert not model.pinned
    for name, tensor in model.named_parameters():
        assert torch.equal(loaded.get_parameter(name), tensor.half().float()), name


def test_the_file_never_contains_pinned_tensors(saved: tuple[Path, DPDFLQ]) -> None:
    path, model = saved
    names = set(_tensors(path))
    assert model.pinned
    assert not names & model.pinned
    assert not [name for name in names if "original" in name or "embeddings" in name]


def test_parameters_are_float16_and_statistics_as_they_are(saved: tuple[Path, DPDFLQ]) -> None:
    path, model = saved
    parameters = dict(model.named_parameters())
    for name, tensor in _tensors(path).items():
        wanted = torch.float16 if name in parameters else model.get_buffer(name).dtype
        assert tensor.dtype == wanted, name
    assert {"standardise_audio.mean", "standardise_video.std"} <= set(_tensors(path))


def test_the_header_is_read_without_the_tensors(saved: tuple[Path, DPDFLQ]) -> None:
    assert read_header(saved[0]) == HEADER


def test_saving_replaces_the_file_at_once_and_leaves_nothing_beside_it(
    saved: tuple[Path, DPDFLQ],
) -> None:
    path, model = saved
    save_checkpoint(path, model, replace(HEADER, version="1.2.4"))
    assert read_header(path).version == "1.2.4"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_service_s_user_may_read_the_file(saved: tuple[Path, DPDFLQ]) -> None:
    assert stat.S_IMODE(saved[0].stat().st_mode) == 0o644


def test_file_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert file_sha256(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


def test_both_paths_start_from_the_same_encoder_but_do_not_share_it(tiny_encoder: Path) -> None:
    model = build_model(TINY, encoder_folder=tiny_encoder)
    name = "embeddings.word_embeddings.weight"
    first = model.get_parameter(f"global_encoder.{name}")
    second = model.get_parameter(f"local_encoder.{name}")
    assert torch.equal(first, second)
    assert first.data_ptr() != second.data_ptr()


# --- what is refused -----------------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"There is no checkpoint at .*nothing\.safetensors"):
        load_checkpoint(tmp_path / "nothing.safetensors", schema=SCHEMA)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_damaged_file(saved: tuple[Path, DPDFLQ], keep: int) -> None:
    path, _ = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="is not a readable safetensors file"):
        load_checkpoint(path, schema=SCHEMA)


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"format is None, expected 'dpdf-lq/2'"):
        read_header(path)


def test_another_format(saved: tuple[Path, DPDFLQ]) -> None:
    other = _rewritten(saved[0], lambda m: m.update(format="dpdf-lq/1"))
    with pytest.raises(CheckpointError, match=f"format is 'dpdf-lq/1', expected '{FORMAT}'"):
        load_checkpoint(other, schema=SCHEMA)


@pytest.mark.parametrize("entry", ["name", "version", "config", "schema"])
def test_a_header_with_an_entry_missing(saved: tuple[Path, DPDFLQ], entry: str) -> None:
    other = _rewritten(saved[0], lambda m: m.pop(entry))
    with pytest.raises(CheckpointError, match=f"header is damaged: .*{entry}"):
        read_header(other)


@pytest.mark.parametrize("entry", ["config", "schema"])
@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "3", '{"colour": 1}'])
def test_a_header_with_an_entry_damaged(saved: tuple[Path, DPDFLQ], entry: str, text: str) -> None:
    other = _rewritten(saved[0], lambda m: m.update({entry: text}))
    with pytest.raises(CheckpointError, match="header is damaged"):
        read_header(other)


def test_a_header_with_a_configuration_out_of_range(saved: tuple[Path, DPDFLQ]) -> None:
    config = json.dumps(json.loads(RANKED.to_json()) | {"encoder": "gpt"})
    other = _rewritten(saved[0], lambda m: m.update(config=config))
    with pytest.raises(CheckpointError, match="header is damaged: encoder 'gpt' is unknown"):
        read_header(other)


def test_another_schema_than_the_one_in_force(saved: tuple[Path, DPDFLQ]) -> None:
    other = replace(SCHEMA, name="test-2")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved[0], schema=other)
    for part in (SCHEMA.name, SCHEMA.fingerprint, other.name, other.fingerprint):
        assert part in str(caught.value)


def test_no_schema_in_force_loads_whatever_it_was_trained_on(
    saved: tuple[Path, DPDFLQ], tiny_encoder: Path
) -> None:
    _, header = load_checkpoint(saved[0], schema=None, encoder_folder=tiny_encoder)
    assert header.schema == SCHEMA


def test_tensors_that_do_not_fit_the_configuration(
    saved: tuple[Path, DPDFLQ], tiny_encoder: Path
) -> None:
    config = replace(RANKED, query_depth=2)
    other = _rewritten(saved[0], lambda m: m.update(config=config.to_json()))
    with pytest.raises(CheckpointError, match="does not fit its own configuration"):
        load_checkpoint(other, schema=SCHEMA, encoder_folder=tiny_encoder)


def test_an_encoder_that_cannot_be_had(saved: tuple[Path, DPDFLQ], tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable):
        load_checkpoint(saved[0], schema=SCHEMA, encoder_folder=tmp_path / "nowhere")
