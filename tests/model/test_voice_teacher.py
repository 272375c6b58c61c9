"""The voice's teacher: its statistics by hand, the copies it scores, and the corpus they make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.training.datasets import load_corpus
from model.training.voice_teacher import (
    Changes,
    changed,
    fit_teacher,
    main,
    statistics,
    voice_statistics,
    voices,
)
from tests.model.conftest import SCHEMA, Labelled, make_sample, write_corpus

NOTHING = Changes(offset=0.0, jitter=0.0, liveliness=0.0, speed=1.0, mixed=0.0)
NAN = float("nan")


def test_statistics_by_hand() -> None:
    rows = np.array([[1, NAN, NAN], [3, 4, NAN], [8, 8, NAN]], np.float32)
    found = statistics(rows).reshape(-1)
    mean, spread, trend, movement, rest = np.split(found, [3, 6, 9, 12])
    assert mean == pytest.approx([4, 6, 0])
    # (1, 3, 8) around 4: (9 + 1 + 16) / 3. (4, 8) around 6: 4.
    assert spread == pytest.approx([(26 / 3) ** 0.5, 2, 0])
    assert trend == pytest.approx([3.5, 4, 0])
    assert movement == pytest.approx([3.5, 4, 0])
    assert rest == pytest.approx([4 / 9, 3])


def test_a_falling_and_a_rising_voice_differ_in_trend_alone() -> None:
    rising = np.arange(12, dtype=np.float32).reshape(6, 2)
    up, down = statistics(rising), statistics(rising[::-1])
    assert up[4:6] == pytest.approx([2, 2])
    assert down[4:6] == pytest.approx([-2, -2])
    assert np.delete(up, [4, 5]) == pytest.approx(np.delete(down, [4, 5]))


def _clip(seed: int) -> np.ndarray:
    return make_sample(seed, 0, 13, 0).audio


def test_without_changes_a_copy_is_its_clip() -> None:
    random = np.random.default_rng(1)
    copy = changed(_clip(1), _clip(2), np.ones(5, np.float32), NOTHING, random)
    np.testing.assert_allclose(copy, _clip(1), atol=1e-5)


def test_each_change_does_what_it_says() -> None:
    random = np.random.default_rng(1)
    spread = np.array([0, 1, 2, 3, 4], np.float32)

    def copy(**how: float) -> np.ndarray:
        return changed(_clip(1), _clip(2), spread, replace(NOTHING, **how), random)

    shifted = copy(offset=1.0) - _clip(1)
    np.testing.assert_allclose(np.ptp(shifted, axis=0), 0, atol=1e-5)
    assert shifted[0, 0] == pytest.approx(0, abs=1e-5)
    louder = copy(liveliness=0.5)
    np.testing.assert_allclose(louder.mean(axis=0), _clip(1).mean(axis=0), atol=1e-5)
    ratio = louder.std(axis=0) / _clip(1).std(axis=0)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
    assert {len(copy(speed=1.5)) for _ in range(50)} >= {9, 13, 19}
    both = copy(mixed=1.0)
    low, high = np.minimum(_clip(1), _clip(2)), np.maximum(_clip(1), _clip(2))
    assert ((low - 1e-5 <= both) & (both <= high + 1e-5)).all()


def test_what_is_unknown_stays_unknown() -> None:
    rows = _clip(1).copy()
    rows[3:6, 2] = NAN
    how = replace(NOTHING, speed=1.3, offset=1.0)
    copy = changed(rows, rows, np.ones(5, np.float32), how, np.random.default_rng(4))
    assert 0 < np.isnan(copy[:, 2]).sum() < len(copy)
    assert np.isfinite(np.delete(copy, 2, axis=1)).all()


def test_the_corpus_holds_the_teacher_s_scores_of_copies_of_training_clips(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    items = []
    for index in range(60):
        sample = make_sample(index, 3, 12, 4)
        mood = random.uniform(-1, 1)
        sample.audio[:, 1] += 3 * mood
        split = "train" if index < 50 else "test"
        items.append(Labelled(sample, 2 * mood, f"c{index}", split, speaker=f"s{index % 5}"))
    corpus = load_corpus(write_corpus(tmp_path / "acted.npz", items))
    main(["acted", "--features", str(tmp_path), "--copies", "3"])
    made = load_corpus(tmp_path / "voices.npz")
    assert len(made) == 150
    assert set(made.splits) == {"train"}
    assert {name.rsplit("-", 1)[0] for name in made.ids} == {f"c{i}" for i in range(50)}
    assert all(len(sample.video) == 0 and len(sample.input_ids) == 3 for sample in made.samples)
    teacher = fit_teacher(corpus.split("train"))
    scores = teacher.predict(voice_statistics(made))
    np.testing.assert_allclose(made.scores, scores, atol=1e-4)
    again = voices(corpus.split("train"), copies=3, how=Changes(), seed=1)
    np.testing.assert_array_equal(again.scores, made.scores)


def test_the_teacher_does_not_hear_chroma(tmp_path: Path) -> None:
    names = ("chroma_cqt_0", "mfcc_0", "chroma_cqt_1", "log_f0", "rms_db")
    schema = replace(SCHEMA, audio_columns=names)
    items = [Labelled(make_sample(index, 3, 12, 4), 1.0) for index in range(3)]
    corpus = load_corpus(write_corpus(tmp_path / "acted.npz", items, schema))
    before = voice_statistics(corpus)
    assert before.shape == (3, 4 * 3 + 2)
    for sample in corpus.samples:
        sample.audio[:, [0, 2]] += 5
    np.testing.assert_array_equal(voice_statistics(corpus), before)
