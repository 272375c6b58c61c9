"""Measuring checkpoints: one line each, and of several their mean and spread."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.checkpoint import CheckpointHeader, save_checkpoint
from model.training.evaluate import main, spread
from tests.model.conftest import SCHEMA, TINY, Labelled, make_model, make_sample, write_corpus


def test_mean_and_standard_deviation_by_hand() -> None:
    lines = [
        {"corpus": "mosi:test", "mae": 0.5, "n": 4, "covered": 0.9},
        {"corpus": "mosi:test", "mae": 0.7, "n": 4},
        {"corpus": "mosi:test", "mae": 0.9, "n": 4},
    ]
    # Names have no mean, and what one of them lacks is left out. Variance (.04 + 0 + .04) / 2.
    found = spread(lines)
    assert set(found) == {"mae", "n"}
    assert found["mae"] == pytest.approx([0.7, 0.2])
    assert found["n"] == [4, 0]


def test_of_several_checkpoints_the_spread_is_printed_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_corpus(
        tmp_path / "words.npz",
        [Labelled(make_sample(i, 5, 0, 0), i - 2.0, f"w{i}", "test") for i in range(5)],
    )
    paths = [tmp_path / "first.safetensors", tmp_path / "second.safetensors"]
    for seed, path in enumerate(paths):
        save_checkpoint(path, make_model(TINY, seed), CheckpointHeader("tiny", "1", TINY, SCHEMA))
    folder = ["--features", str(tmp_path)]
    # A corpus may follow a checkpoint, as in docs/training.md.
    main([*folder, "--checkpoint", str(paths[0]), "words:test"])
    assert len(capsys.readouterr().out.splitlines()) == 1
    given = [part for path in paths for part in ("--checkpoint", str(path))]
    main([*folder, *given, "words:test"])
    first, second, both = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["mae"] != second["mae"]
    assert both["checkpoints"] == 2
    assert both["corpus"] == "words:test"
    assert both["mae"] == pytest.approx(
        [(first["mae"] + second["mae"]) / 2, abs(first["mae"] - second["mae"]) / 2**0.5]
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("words:valid", "words.npz has the splits test"),
        ("words:test --modalities video", "words.npz has the splits test"),
        # Left out in silence, the other modality alone would be measured.
        ("words:test --modalities text+vidoe", "no modality vidoe: they are text, audio, video"),
    ],
)
def test_a_choice_that_cannot_be_measured_is_refused_before_anything_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: str, said: str
) -> None:
    write_corpus(tmp_path / "words.npz", [Labelled(make_sample(0, 5, 0, 0), 1.0, "only", "test")])
    with pytest.raises(SystemExit):
        main(["words:test", *asked.split(), "--features", str(tmp_path)])
    printed = capsys.readouterr()
    assert said in printed.err
    assert not printed.out
