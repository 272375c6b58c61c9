"""The resident model: scores, identity and device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.checkpoint import (
    CheckpointError,
    CheckpointHeader,
    build_model,
    file_sha256,
    load_checkpoint,
    save_checkpoint,
)
from model.inputs import collate
from model.predictor import Predictor, choose_device
from tests.model.conftest import SCHEMA, TINY, fill_at_random, make_sample

CONFIG = replace(TINY, encoder_rank=3, local_readout="mean", audio_positions=31, video_positions=37)
SAMPLES = [make_sample(1), make_sample(2, 13, 0, 5), make_sample(3, 0, 4, 0)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    torch.manual_seed(2)
    model = build_model(CONFIG, encoder_folder=tiny_encoder)
    fill_at_random(model)
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    save_checkpoint(path, model, CheckpointHeader("test-model", "1.2.3", CONFIG, SCHEMA))
    return path


@pytest.fixture(scope="module")
def predictor(checkpoint: Path, tiny_encoder: Path) -> Predictor:
    return Predictor.load(checkpoint, schema=SCHEMA, device="cpu", encoder_folder=tiny_encoder)


def test_predictions_are_the_model_s_outputs(
    predictor: Predictor, checkpoint: Path, tiny_encoder: Path
) -> None:
    model, _ = load_checkpoint(checkpoint, schema=SCHEMA, encoder_folder=tiny_encoder)
    with torch.no_grad():
        expected = model(collate(SAMPLES))
    found = predictor.predict(SAMPLES)
    for row, prediction in enumerate(found):
        assert prediction.raw_score == pytest.approx(float(expected.score[row]), abs=1e-5)
        weights = (prediction.global_weight, prediction.local_weight)
        assert weights == pytest.approx(expected.path_gate[row].tolist(), abs=1e-5)
        for layer, gates in enumerate(prediction.layer_gates):
            assert gates == pytest.approx(expected.layer_gates[row, layer].tolist(), abs=1e-5)
        assert len(prediction.layer_gates) == CONFIG.query_depth


def test_a_prediction_does_not_depend_on_the_batch(predictor: Predictor) -> None:
    together = predictor.predict(SAMPLES)
    for sample, expected in zip(SAMPLES, together, strict=True):
        (alone,) = predictor.predict([sample])
        assert alone.raw_score == pytest.approx(expected.raw_score, abs=1e-5)


def test_weights_sum_to_1_and_an_absent_modality_has_none(predictor: Predictor) -> None:
    for sample, prediction in zip(SAMPLES, predictor.predict(SAMPLES), strict=True):
        assert prediction.global_weight + prediction.local_weight == pytest.approx(1)
        for text, audio, video in prediction.layer_gates:
            assert text + audio + video == pytest.approx(1)
            assert (text > 0) is bool(len(sample.input_ids))
            assert (audio > 0) is bool(len(sample.audio))
            assert (video > 0) is bool(len(sample.video))


def test_identity_names_the_weights(predictor: Predictor, checkpoint: Path) -> None:
    identity = predictor.identity
    assert (identity.name, identity.version) == ("test-model", "1.2.3")
    assert identity.encoder == "tiny-bert-test"
    assert identity.checkpoint_sha256 == file_sha256(checkpoint)
    assert predictor.schema == SCHEMA
    assert predictor.device == torch.device("cpu")


def test_warm_up_runs(predictor: Predictor) -> None:
    before = predictor.predict(SAMPLES)
    predictor.warm_up()
    assert predictor.predict(SAMPLES) == before


def test_another_schema_is_refused(checkpoint: Path, tiny_encoder: Path) -> None:
    with pytest.raises(CheckpointError, match="was trained on features test-1"):
        Predictor.load(
            checkpoint,
            schema=replace(SCHEMA, max_tokens=19),
            device="cpu",
            encoder_folder=tiny_encoder,
        )


def test_choose_device() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto").type == expected


def test_a_name_that_is_no_device_is_refused() -> None:
    with pytest.raises(RuntimeError, match="toaster"):
        choose_device("toaster")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_refused_in_words() -> None:
    with pytest.raises(RuntimeError, match="sees no CUDA here"):
        choose_device("cuda:1")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_cpu_s_scores(
    predictor: Predictor, checkpoint: Path, tiny_encoder: Path
) -> None:
    resident = Predictor.load(checkpoint, schema=SCHEMA, encoder_folder=tiny_encoder)
    assert resident.device.type == "cuda"
    for found, expected in zip(resident.predict(SAMPLES), predictor.predict(SAMPLES), strict=True):
        assert found.raw_score == pytest.approx(expected.raw_score, abs=1e-4)
