"""Statistics of a clip's rows, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.corpus import load_corpus
from model.training.clip_statistics import face_statistics, statistics, voice_statistics
from tests.model.conftest import SCHEMA, Labelled, make_sample, write_corpus

NAN = float("nan")


def test_statistics_by_hand() -> None:
    rows = np.array([[1, NAN, NAN], [3, 4, NAN], [8, 8, NAN]], np.float32)
    found = statistics(rows).reshape(-1)
    mean, spread, trend, movement, first, middle, last, rest = np.split(
        found, [3, 6, 9, 12, 15, 18, 21]
    )
    assert mean == pytest.approx([4, 6, 0])
    # (1, 3, 8) around 4: (9 + 1 + 16) / 3. (4, 8) around 6: 4.
    assert spread == pytest.approx([(26 / 3) ** 0.5, 2, 0])
    assert trend == pytest.approx([3.5, 4, 0])
    assert movement == pytest.approx([3.5, 4, 0])
    assert first == pytest.approx([1, 0, 0])
    assert middle == pytest.approx([3, 4, 0])
    assert last == pytest.approx([8, 8, 0])
    assert rest == pytest.approx([4 / 9, 3])


def test_a_clip_of_one_row_has_statistics() -> None:
    assert np.isfinite(statistics(np.ones((1, 3), np.float32))).all()


def test_a_falling_and_a_rising_voice_differ_in_trend_and_in_their_ends() -> None:
    rising = np.arange(12, dtype=np.float32).reshape(6, 2)
    up, down = statistics(rising), statistics(rising[::-1])
    assert up[4:6] == pytest.approx([2, 2])
    assert down[4:6] == pytest.approx([-2, -2])
    assert up[8:10] == pytest.approx([1, 2])
    assert down[8:10] == pytest.approx([9, 10])
    same = [0, 1, 2, 3, 6, 7, 10, 11, 14, 15]
    assert up[same] == pytest.approx(down[same])


def test_the_teacher_does_not_hear_chroma(tmp_path: Path) -> None:
    names = ("chroma_cqt_0", "mfcc_0", "chroma_cqt_1", "log_f0", "rms_db")
    schema = replace(SCHEMA, audio_columns=names)
    items = [Labelled(make_sample(index, 3, 12, 4), 1.0) for index in range(3)]
    corpus = load_corpus(write_corpus(tmp_path / "acted.npz", items, schema))
    before = voice_statistics(corpus)
    assert before.shape == (3, 7 * 3 + 2)
    for sample in corpus.samples:
        sample.audio[:, [0, 2]] += 5
    np.testing.assert_array_equal(voice_statistics(corpus), before)


def test_a_face_s_statistics_are_its_mean_row(tmp_path: Path) -> None:
    sample = make_sample(1, 3, 4, 3)
    sample.video[:] = [[1, NAN, NAN], [2, 4, NAN], [6, 8, NAN]]
    corpus = load_corpus(write_corpus(tmp_path / "acted.npz", [Labelled(sample, 1.0)]))
    assert face_statistics(corpus) == pytest.approx(np.array([[3, 6, 0]]))
