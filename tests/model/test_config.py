"""The configuration: profiles, what is refused, and its form in a checkpoint."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from model.config import ABLATIONS, ENCODERS, PROFILES, DPDFConfig
from tests.model.conftest import TINY


@pytest.mark.parametrize("name", PROFILES)
def test_json_round_trip_of_each_profile(name: str) -> None:
    config = PROFILES[name]
    assert DPDFConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("name", ABLATIONS)
def test_each_row_of_table_2_changes_the_configuration_and_survives_json(name: str) -> None:
    changes: dict[str, Any] = ABLATIONS[name]
    config = replace(TINY, **changes)
    assert config != TINY
    assert DPDFConfig.from_json(config.to_json()) == config


def test_table_2_has_every_row() -> None:
    assert set(ABLATIONS) == {
        "w/o V",
        "w/o A",
        "w/o T",
        "w/o A&V",
        "w/o T&V",
        "w/o T&A",
        "w/o LPath",
        "w/o GPath",
        "w/o Gate",
        "w/o DGLQA",
        "w/o GPath CA",
        "LPath CA <-> GPath CA",
        "DGLQA -> Std.A",
        "DGLQA -> AHL",
    }


def test_the_paper_s_profiles_hold_the_authors_settings() -> None:
    mosei, mosi = PROFILES["paper-mosei"], PROFILES["paper-mosi"]
    assert (mosei.audio_columns, mosei.video_columns) == (74, 35)
    assert (mosi.audio_columns, mosi.video_columns) == (5, 20)
    assert (mosei.global_cross_depth, mosi.global_cross_depth) == (4, 2)
    for config in (mosei, mosi):
        assert config.encoder == "bert-base-uncased"
        assert config.encoder_rank is None
        assert (config.width, config.global_tokens, config.heads) == (128, 8, 8)
        assert (config.query_depth, config.local_cross_depth) == (3, 2)
        assert (config.projection_depth, config.feed_forward) == (1, 128)
        assert config.local_readout == "token"
        assert config.query_start == "ones"


def test_the_default_profile_adapts_the_pinned_small_encoder() -> None:
    config = PROFILES["default"]
    assert config.encoder == "all-MiniLM-L6-v2"
    assert config.encoder_rank is not None
    digest = ENCODERS[config.encoder].weights_sha256
    assert digest == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert config.encoder_shape.hidden == 384
    assert (config.audio_columns, config.video_columns) == (35, 119)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "gpt"}, r"encoder 'gpt' is unknown; known: \['all-MiniLM-L6-v2'"),
        ({"global_path": False, "local_path": False}, "needs the global path, the local path"),
        ({"modalities": ()}, "modalities must be some of"),
        ({"modalities": ("text", "smell")}, "modalities must be some of .* 'smell'"),
        ({"text_positions": 65}, "tiny-bert-test takes 64 tokens, not 65"),
    ],
)
def test_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)


def test_a_configuration_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        TINY.width = 5  # type: ignore[misc]


def test_json_with_an_unknown_field_is_refused() -> None:
    text = json.dumps(json.loads(TINY.to_json()) | {"colour": "red"})
    with pytest.raises(TypeError, match="colour"):
        DPDFConfig.from_json(text)


def test_json_with_a_value_out_of_range_is_refused() -> None:
    text = json.dumps(json.loads(TINY.to_json()) | {"encoder": "gpt"})
    with pytest.raises(ValueError, match="unknown"):
        DPDFConfig.from_json(text)


@pytest.mark.parametrize("missing", ["encoder", "audio_columns", "video_columns"])
def test_json_without_a_necessary_field_is_refused(missing: str) -> None:
    values = json.loads(TINY.to_json())
    del values[missing]
    with pytest.raises(TypeError, match=missing):
        DPDFConfig.from_json(json.dumps(values))
