"""Conformal intervals: rules by hand, coverage on fresh draws, and the checkpoint's memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.checkpoint import CheckpointHeader, read_header, save_checkpoint
from model.inputs import Sample
from model.intervals import COVERAGE, IntervalRule, from_json, to_json
from model.predictor import Predictor
from model.training.calibrate import fit_rule, main
from model.training.evaluate import main as evaluate_main
from tests.model.conftest import SCHEMA, TINY, Labelled, make_model, make_sample, write_corpus


def test_an_interval_grows_with_the_score_and_stays_on_the_scale() -> None:
    rule = IntervalRule(width=0.5, slope=0.2, samples=10)
    assert rule.around(0.0) == (-0.5, 0.5)
    # 0.5 (1 + 0.2 · 2) = 0.7
    assert rule.around(-2.0) == pytest.approx((-2.7, -1.3))
    assert rule.around(2.8)[1] == 3.0
    assert rule.around(9.0) == (3.0, 3.0)


def test_the_rule_of_errors_that_do_not_depend_on_the_score_is_their_quantile() -> None:
    # Errors .01 to 1.00; with one sample's weight beside them .9 is reached at 91 of 101.
    errors = np.arange(1, 101) / 100
    rule = fit_rule([np.zeros(100)], [errors])
    assert rule.width == pytest.approx(0.91)
    assert (rule.slope, rule.samples) == (0.0, 100)


def test_corpora_weigh_the_same_whatever_their_sizes() -> None:
    random = np.random.default_rng(1)
    small, large = random.uniform(0, 2, 200), random.uniform(0, 1, 20_000)
    rule = fit_rule([np.zeros(200), np.zeros(20_000)], [small, large])
    # Half of the weight is even over 0..2, half over 0..1: .9 of it lies below 1.6.
    assert rule.width == pytest.approx(1.6, abs=0.15)


def test_corpora_whose_errors_grow_with_the_score_are_covered_alike() -> None:
    random = np.random.default_rng(2)

    def corpus(spread: float, n: int) -> tuple[np.ndarray, np.ndarray]:
        scores = random.normal(0, spread, n)
        return scores, scores + random.normal(0, 0.4, n) * (1 + 0.5 * np.abs(scores))

    fitted = [corpus(0.3, 2000), corpus(2.0, 2000)]
    rule = fit_rule([s for s, _ in fitted], [y for _, y in fitted])
    assert rule.slope == pytest.approx(0.5, abs=0.15)
    for spread in (0.3, 2.0):
        scores, labels = corpus(spread, 5000)
        half = rule.width * (1 + rule.slope * np.abs(scores))
        assert np.mean(np.abs(labels - scores) <= half) == pytest.approx(COVERAGE, abs=0.025)


def test_rules_survive_being_written() -> None:
    rules = {frozenset(("text", "audio")): IntervalRule(1.0, 0.25, 7)}
    assert from_json(to_json(rules)) == rules


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, make_model(), CheckpointHeader("tiny", "1", TINY, SCHEMA))
    return path


def test_an_uncalibrated_checkpoint_gives_no_interval(checkpoint: Path) -> None:
    predictor = Predictor.load(checkpoint, schema=SCHEMA, device="cpu")
    assert predictor.predict([make_sample(1)])[0].interval is None


def test_calibration_is_by_the_modalities_a_clip_has(checkpoint: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    acted = [
        Labelled(make_sample(i, 5, 6, 7), float(random.choice([-3, 3])), f"a{i}", "valid")
        for i in range(40)
    ]
    # Their labels are what this model answers when it hears and sees them.
    samples = [make_sample(i, 5, 6, 7) for i in range(40)]
    answers = Predictor.load(checkpoint, schema=SCHEMA, device="cpu").predict(samples)
    spoken = [
        Labelled(sample, found.raw_score, f"s{i}", "valid")
        for i, (sample, found) in enumerate(zip(samples, answers, strict=True))
    ]
    write_corpus(tmp_path / "spoken.npz", spoken)
    write_corpus(tmp_path / "acted.npz", acted)
    before = Predictor.load(checkpoint, schema=SCHEMA, device="cpu").predict([make_sample(1)])[0]
    main(
        [
            *(str(checkpoint), "--features", str(tmp_path)),
            *("--words", "spoken", "--other", "acted"),
        ]
    )
    rules = read_header(checkpoint).intervals
    assert len(rules) == 7

    def half_width(*modalities: str) -> float:
        rule = rules[frozenset(modalities)]
        return rule.width * (1 + rule.slope)

    assert half_width("text", "audio", "video") < half_width("text", "audio")
    assert half_width("text", "audio", "video") < half_width("text")
    for others in (("audio",), ("video",), ("audio", "video")):
        assert half_width(*others) > half_width("text")
    predictor = Predictor.load(checkpoint, schema=SCHEMA, device="cpu")
    whole, silent = predictor.predict([make_sample(1), make_sample(1, 0, 3, 0)])
    assert whole.raw_score == pytest.approx(before.raw_score, abs=1e-5)
    assert whole.interval is not None
    assert silent.interval is not None
    assert whole.interval[0] <= max(-3, min(3, whole.raw_score)) <= whole.interval[1]


def test_joined_sentences_widen_the_rules_of_clips_that_lack_what_decides_them(
    tmp_path: Path,
) -> None:
    checkpoint, config = tmp_path / "hearing.safetensors", replace(TINY, local_readout="mean")
    save_checkpoint(checkpoint, make_model(config), CheckpointHeader("tiny", "1", config, SCHEMA))
    predictor = Predictor.load(checkpoint, schema=SCHEMA, device="cpu")
    random = np.random.default_rng(4)

    def labelled(samples: list[Sample], noise: float) -> list[Labelled]:
        return [
            Labelled(sample, found.raw_score + random.normal(0, noise), f"c{i}", "valid")
            for i, (sample, found) in enumerate(
                zip(samples, predictor.predict(samples), strict=True)
            )
        ]

    write_corpus(
        tmp_path / "words.npz", labelled([make_sample(i, 5, 0, 0) for i in range(60)], 0.1)
    )
    whole = [make_sample(i, 5, 6, 7) for i in range(60)]
    write_corpus(tmp_path / "joined.npz", labelled(whole, 0.0))

    def widths(*joined: str) -> dict[str, float]:
        folder = ["--features", str(tmp_path), *("--words", "words", "--other", "joined")]
        main([str(checkpoint), *folder, *joined])
        rules = read_header(checkpoint).intervals
        return {"+".join(sorted(key)): rule.width for key, rule in rules.items()}

    alone, mixed = widths(), widths("--joined", "joined")
    # Words have no voice or face here, so that without the joined ones one rule serves all.
    assert alone["text"] == alone["audio+text+video"]
    assert mixed["text"] > mixed["audio+text+video"]
    assert mixed["text"] > 1.2 * alone["text"]
    assert mixed["audio"] == alone["audio"]


def test_shares_weigh_corpora() -> None:
    # Nine tenths of the weight lie at errors of 1 and one at 5: with a little more the 5 counts.
    scores, labels = [np.zeros(1000), np.zeros(1000)], [np.ones(1000), np.full(1000, 5.0)]
    assert fit_rule(scores, labels, shares=[0.92, 0.08]).width == 1
    assert fit_rule(scores, labels, shares=[0.88, 0.12]).width == 5


def test_too_few_samples_give_no_interval(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoken = [Labelled(make_sample(i, 5, 6 * (i < 8), 0), 1.0, f"s{i}", "valid") for i in range(9)]
    write_corpus(tmp_path / "spoken.npz", spoken)
    folder = ["--features", str(tmp_path)]
    main([str(checkpoint), *folder, "--words", "spoken", "--other", "spoken"])
    # Nine have words, just enough: the largest error is the 90 % quantile. Eight have sound.
    rules = read_header(checkpoint).intervals
    assert {"+".join(sorted(key)) for key in rules} == {
        *("text", "audio+text", "text+video", "audio+text+video")
    }
    assert '"audio", "no_interval": "fewer than 9 validation samples"' in capsys.readouterr().out
    evaluate_main(
        ["spoken:valid", "--checkpoint", str(checkpoint), *folder, "--modalities", "audio"]
    )
    assert "covered" not in capsys.readouterr().out


def test_a_damaged_rule_is_refused() -> None:
    with pytest.raises(TypeError):
        from_json(json.dumps({"text": {"breadth": 1}}))
