"""The corpora for voice and face: what a copy keeps, how sentences and cues come together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.corpus import load_corpus
from model.inputs import Sample
from model.training.clip_statistics import joint_statistics, voice_statistics
from model.training.cue_teacher import fit_voice_teacher
from model.training.cues import (
    Changes,
    changed,
    compose,
    copies,
    cue_corpora,
    main,
    spoken,
    spread_of,
)
from model.training.datasets import Spread
from tests.model.conftest import Labelled, make_sample, write_corpus

NOTHING = Changes(offset=0.0, jitter=0.0, liveliness=0.0, speed=1.0, mixed=0.0)
SPREAD = Spread(np.arange(5, dtype=np.float32), np.ones(3, np.float32))


def clip(seed: int) -> Sample:
    return make_sample(seed, 2, 13, 6)


def copy_of(**how: float) -> Sample:
    return changed(clip(1), clip(2), SPREAD, replace(NOTHING, **how), np.random.default_rng(1))


def test_without_changes_a_copy_is_its_clip() -> None:
    np.testing.assert_allclose(copy_of().audio, clip(1).audio, atol=1e-5)
    np.testing.assert_allclose(copy_of().video, clip(1).video, atol=1e-5)


def test_each_change_does_what_it_says() -> None:
    shifted = copy_of(offset=1.0).audio - clip(1).audio
    np.testing.assert_allclose(np.ptp(shifted, axis=0), 0, atol=1e-5)
    assert shifted[0, 0] == pytest.approx(0, abs=1e-5)
    louder, rows = copy_of(liveliness=0.5).audio, clip(1).audio
    np.testing.assert_allclose(louder.mean(axis=0), rows.mean(axis=0), atol=1e-5)
    ratio = louder.std(axis=0) / rows.std(axis=0)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
    random = np.random.default_rng(1)
    faster = replace(NOTHING, speed=1.5)
    made = [changed(clip(1), clip(2), SPREAD, faster, random) for _ in range(50)]
    assert {len(sample.audio) for sample in made} >= {9, 13, 19}
    # Voice and face of a copy are as fast as each other.
    assert all(abs(len(s.audio) / 13 - len(s.video) / 6) < 0.2 for s in made)


def test_a_mixture_lies_between_its_clips_by_one_share_for_voice_and_face() -> None:
    both, one, other = copy_of(mixed=1.0), clip(1), clip(2)
    shares = [
        (getattr(both, name) - getattr(other, name)) / (getattr(one, name) - getattr(other, name))
        for name in ("audio", "video")
    ]
    assert 0.3 <= np.median(shares[0]) <= 0.7
    for share in shares:
        np.testing.assert_allclose(share, np.median(shares[0]), atol=1e-2)


def test_what_is_unknown_stays_unknown_and_what_is_absent_absent() -> None:
    rows = clip(1).audio.copy()
    rows[3:6, 2] = np.nan
    sample = Sample(clip(1).input_ids, rows, clip(1).video[:0])
    how = replace(NOTHING, speed=1.3, offset=1.0)
    copy = changed(sample, sample, SPREAD, how, np.random.default_rng(4))
    assert 0 < np.isnan(copy.audio[:, 2]).sum() < len(copy.audio)
    assert np.isfinite(np.delete(copy.audio, 2, axis=1)).all()
    assert len(copy.video) == 0


def test_a_picture_stays_one_row() -> None:
    picture = make_sample(3, 0, 0, 1)
    copy = changed(picture, make_sample(4, 0, 0, 1), SPREAD, Changes(), np.random.default_rng(1))
    assert copy.video.shape == (1, 3)


@pytest.mark.parametrize(
    ("words", "cue", "score"),
    [
        (0.0, 2.0, 2.0),  # neutral words take on the tone
        (0.0, -1.0, -1.0),
        (1.5, -2.0, 1.0),  # (1 - 1/2)² = 1/4
        (-1.5, -2.0, -2.0),
        (3.0, -3.0, 3.0),  # the clearest words stay
        (-3.0, 3.0, -3.0),
    ],
)
def test_compose_by_hand(words: float, cue: float, score: float) -> None:
    assert compose(words, cue) == pytest.approx(score)


def test_copies_carry_the_teacher_s_score_of_the_copy(tmp_path: Path) -> None:
    items = [
        Labelled(make_sample(i, 3, 12, 4 * (i != 3)), i % 5 - 2.0, f"c{i}", speaker=f"s{i % 4}")
        for i in range(24)
    ]
    corpus = load_corpus(write_corpus(tmp_path / "acted.npz", items))
    teacher = fit_voice_teacher(corpus)
    made = copies(
        corpus, "voices", ["audio"], teacher, voice_statistics, count=3, how=Changes(), seed=1
    )
    assert len(made) == 72
    assert {name.rsplit("-", 1)[0] for name in made.ids} == {f"c{i}" for i in range(24)}
    assert all(len(s.video) == 0 and len(s.input_ids) == 0 for s in made.samples)
    expected = teacher.predict(voice_statistics(made))
    np.testing.assert_allclose(made.scores, expected, atol=1e-4)
    # The one clip without a face is not in a corpus of both.
    both = copies(
        corpus,
        "acted",
        ["audio", "video"],
        _Zero(),
        joint_statistics,
        count=1,
        how=Changes(),
        seed=1,
    )
    assert len(both) == 23
    assert spread_of(corpus).audio == pytest.approx(
        np.concatenate([s.audio for s in corpus.samples]).std(axis=0), rel=1e-4
    )


class _Zero:
    def predict(self, statistics: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.zeros(len(statistics))


def test_spoken_items_join_words_of_one_with_cues_of_another(tmp_path: Path) -> None:
    words = load_corpus(
        write_corpus(
            tmp_path / "words.npz",
            [Labelled(make_sample(i, 4, 0, 0), 1.5 * i, f"w{i}") for i in range(3)],
        )
    )
    cues = load_corpus(
        write_corpus(
            tmp_path / "cues.npz",
            [Labelled(make_sample(9 + i, 0, 5, 2), 2.0 - i, f"c{i}") for i in range(4)],
        )
    )
    made = spoken([words], [cues], count=40, split="valid", seed=1)
    assert set(made.splits) == {"valid"}
    for sample, name, score in zip(made.samples, made.ids, made.scores, strict=True):
        said, heard = str(name).split("+")
        at, of = int(said[1:]), int(heard[1:])
        np.testing.assert_array_equal(sample.input_ids, words.samples[at].input_ids)
        np.testing.assert_array_equal(sample.audio, cues.samples[of].audio)
        np.testing.assert_array_equal(sample.video, cues.samples[of].video)
        assert score == pytest.approx(compose(1.5 * at, 2.0 - of))


def test_the_command_makes_every_corpus_from_training_speakers(tmp_path: Path) -> None:
    splits = ("train",) * 4 + ("valid", "test")
    acted = [
        Labelled(make_sample(i, 3, 12, 4), i % 5 - 2.0, f"a{i}", splits[i % 6], f"s{i % 6}")
        for i in range(48)
    ]
    pictures = [
        Labelled(make_sample(i, 0, 0, 1), i % 5 - 2.0, f"p{i}", splits[i % 6]) for i in range(30)
    ]
    words = [Labelled(make_sample(i, 4, 0, 0), 1.0, f"w{i}", splits[i % 6]) for i in range(30)]
    write_corpus(tmp_path / "acted.npz", acted)
    write_corpus(tmp_path / "pictures_at_hand.npz", pictures)
    write_corpus(tmp_path / "words.npz", words)
    given = ["--acted", "acted", "--pictures", "pictures_at_hand", "--sentences", "words"]
    # `acted` is also a corpus that is made: the clips are read before it is written.
    main(["--features", str(tmp_path), "--spoken", "48", *given])
    made = {
        name: load_corpus(tmp_path / f"{name}.npz")
        for name in ("voices", "faces", "acted", "pictures", "spoken")
    }
    assert [len(corpus) for corpus in made.values()] == [32 * 16, 32 * 16, 32 * 16, 20 * 4, 52]
    assert [bool(len(made[name].samples[0].audio)) for name in made][:4] == [
        True,
        False,
        True,
        False,
    ]
    trained = {f"s{i}" for i in range(4)}
    assert {str(s) for s in made["acted"].speakers} == trained
    learned, checked = made["spoken"].split("train"), made["spoken"].split("valid")
    assert {str(s) for s in learned.speakers} == trained
    assert {str(s) for s in checked.speakers} == {"s4"}
    assert {int(str(name).split("+")[0][1:]) % 6 for name in checked.ids} == {4}
    tested = made["spoken"].split("test")
    assert {str(s) for s in tested.speakers} == {"s5"}
    assert {int(str(name).split("+")[0][1:]) % 6 for name in tested.ids} == {5}
    again = cue_corpora(
        load_corpus(write_corpus(tmp_path / "acted.npz", acted)).split("train"),
        load_corpus(tmp_path / "pictures_at_hand.npz").split("train"),
        seed=1,
    )
    np.testing.assert_array_equal(again[2].scores, made["acted"].scores)
