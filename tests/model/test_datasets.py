"""Feature files and what training does to a sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.corpus import cost, load_corpus, without
from model.inputs import Sample
from model.training.datasets import Augmentation, Spread
from tests.model.conftest import SCHEMA, Labelled, make_sample, write_corpus

ITEMS = [
    Labelled(make_sample(1, 7, 11, 3), 1.5, "a", "train", "ann", "so good"),
    Labelled(make_sample(2, 0, 5, 0), -3.0, "b", "valid", "bob", ""),
    Labelled(make_sample(3, 2, 0, 1), 0.25, "ü", "train", "", "naïve"),
    Labelled(make_sample(4, 0, 0, 19), 0.0, "d", "test", "ann", ""),
]


def _equal(first: Sample, second: Sample) -> bool:
    return all(
        np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True)
        for name in ("input_ids", "audio", "video")
    )


# --- feature files -------------------------------------------------------------------------------


def test_a_feature_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    corpus = load_corpus(write_corpus(tmp_path / "films.npz", ITEMS))
    assert corpus.name == "films"
    assert corpus.schema == SCHEMA
    assert len(corpus) == len(ITEMS)
    for found, item in zip(corpus.samples, ITEMS, strict=True):
        assert _equal(found, item.sample)
        assert found.input_ids.dtype == np.int64
        assert found.audio.dtype == found.video.dtype == np.float32
        assert found.audio.shape[1:] == (5,)
        assert found.video.shape[1:] == (3,)
    assert corpus.scores.tolist() == [1.5, -3.0, 0.25, 0.0]
    assert corpus.scores.dtype == np.float32
    assert corpus.ids.tolist() == ["a", "b", "ü", "d"]
    assert corpus.speakers.tolist() == ["ann", "bob", "", "ann"]
    assert corpus.splits.tolist() == ["train", "valid", "train", "test"]
    assert corpus.texts.tolist() == ["so good", "", "naïve", ""]


def test_unknown_values_stay_unknown(tmp_path: Path) -> None:
    sample = make_sample(1)
    sample.video[1, 2] = np.nan
    corpus = load_corpus(write_corpus(tmp_path / "a.npz", [Labelled(sample, 0.0)]))
    assert np.argwhere(np.isnan(corpus.samples[0].video)).tolist() == [[1, 2]]


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"preprocessing\.prepare --out .* mosi$"):
        load_corpus(tmp_path / "mosi.npz")


def test_where_keeps_every_field_in_step(tmp_path: Path) -> None:
    corpus = load_corpus(write_corpus(tmp_path / "a.npz", ITEMS))
    kept = corpus.where(np.array([False, True, False, True]))
    assert len(kept) == 2
    assert kept.scores.tolist() == [-3.0, 0.0]
    assert kept.ids.tolist() == ["b", "d"]
    assert kept.speakers.tolist() == ["bob", "ann"]
    assert kept.splits.tolist() == ["valid", "test"]
    assert kept.texts.tolist() == ["", ""]
    assert _equal(kept.samples[1], ITEMS[3].sample)


def test_split_takes_the_items_of_one_split(tmp_path: Path) -> None:
    corpus = load_corpus(write_corpus(tmp_path / "a.npz", ITEMS))
    assert corpus.split("train").ids.tolist() == ["a", "ü"]
    assert len(corpus.split("nothing")) == 0


def test_only_leaves_out_the_others_and_the_items_that_have_nothing_then(tmp_path: Path) -> None:
    corpus = load_corpus(write_corpus(tmp_path / "a.npz", ITEMS)).only(["audio"])
    assert corpus.ids.tolist() == ["a", "b"]
    for found, item in zip(corpus.samples, ITEMS, strict=False):
        assert _equal(found, without(item.sample, "text", "video"))


# --- samples -------------------------------------------------------------------------------------


def test_without_makes_modalities_absent_and_keeps_their_columns() -> None:
    sample = without(make_sample(1), "text", "video")
    assert sample.input_ids.shape == (0,)
    assert sample.video.shape == (0, 3)
    assert np.array_equal(sample.audio, make_sample(1).audio)


def test_without_nothing_is_the_sample() -> None:
    assert _equal(without(make_sample(1)), make_sample(1))


def test_cost_is_0_only_where_there_is_nothing() -> None:
    assert cost(make_sample(1, 0, 0, 0)) == 0
    assert cost(make_sample(1, 3, 5, 7)) == 4 * 3 + 5 + 7
    assert min(cost(make_sample(1, *x)) for x in ((1, 0, 0), (0, 1, 0), (0, 0, 1))) > 0


# --- augmentation --------------------------------------------------------------------------------

ROUGH = Augmentation(
    modality_dropout=0.9,
    punctuation_dropout=0.9,
    punctuation_ids=tuple(range(0, 200, 2)),
    still_steps=13,
    face_jitter=2.0,
    face_offset=2.0,
    voice_jitter=2.0,
    voice_offset=2.0,
    audio_crop=0.1,
)
SPREAD = Spread(np.ones(5, np.float32), np.ones(3, np.float32))

clips = st.builds(
    make_sample,
    seed=st.integers(0, 10**6),
    tokens=st.integers(0, 17),
    sounds=st.integers(0, 23),
    frames=st.integers(0, 19),
).filter(lambda sample: cost(sample) > 0)


@settings(deadline=None, max_examples=100)
@given(sample=clips, seed=st.integers(0, 10**6))
def test_augmentation_keeps_a_sample_a_sample(sample: Sample, seed: int) -> None:
    before = replace(sample, audio=sample.audio.copy(), video=sample.video.copy())
    changed = ROUGH.apply(sample, np.random.default_rng(seed), SPREAD)
    assert cost(changed) > 0
    assert not len(changed.video) or not np.isnan(changed.video).all()
    assert changed.video.shape[1:] == (3,)
    assert changed.audio.shape[1:] == (5,)
    assert changed.input_ids.dtype == np.int64
    assert changed.audio.dtype == np.float32
    assert changed.video.dtype == np.float32
    # A modality is left out or changed, never made up; the given sample stays as it was.
    for name in ("input_ids", "audio", "video"):
        assert len(getattr(changed, name)) == 0 or len(getattr(sample, name)) > 0
    assert _equal(sample, before)


@settings(deadline=None, max_examples=30)
@given(sample=clips, seed=st.integers(0, 10**6))
def test_the_same_seed_gives_the_same_changes(sample: Sample, seed: int) -> None:
    first, second = (ROUGH.apply(sample, np.random.default_rng(seed), SPREAD) for _ in range(2))
    assert _equal(first, second)


@settings(deadline=None, max_examples=30)
@given(sample=clips, seed=st.integers(0, 10**6))
def test_without_settings_nothing_changes(sample: Sample, seed: int) -> None:
    assert _equal(Augmentation().apply(sample, np.random.default_rng(seed), SPREAD), sample)


def _many(augmentation: Augmentation, sample: Sample, times: int = 400) -> list[Sample]:
    random = np.random.default_rng(1)
    return [augmentation.apply(sample, random, SPREAD) for _ in range(times)]


def test_modality_dropout_leaves_each_out_at_its_chance_but_one() -> None:
    # A modality stays if it is the one kept (1/3), else with 1/4: dropped with 2/3 · 3/4 = 1/2.
    changed = _many(Augmentation(modality_dropout=0.75), make_sample(1))
    for name in ("input_ids", "audio", "video"):
        share = np.mean([len(getattr(sample, name)) == 0 for sample in changed])
        assert share == pytest.approx(0.5, abs=0.1)


def test_a_sample_with_one_modality_keeps_it() -> None:
    sample = make_sample(1, 0, 7, 0)
    assert all(_equal(x, sample) for x in _many(Augmentation(modality_dropout=1.0), sample, 20))


def test_punctuation_is_left_out_at_its_chance() -> None:
    sample = replace(make_sample(1), input_ids=np.array([101, 7, 3, 9, 3, 102]))
    augmentation = Augmentation(punctuation_dropout=0.25, punctuation_ids=(3, 5))
    found = [x.input_ids.tolist() for x in _many(augmentation, sample)]
    assert {tuple(ids) for ids in found} == {(101, 7, 3, 9, 3, 102), (101, 7, 9, 102)}
    assert np.mean([len(ids) == 4 for ids in found]) == pytest.approx(0.25, abs=0.07)


def test_a_text_of_nothing_but_punctuation_stays() -> None:
    sample = replace(make_sample(1), input_ids=np.array([101, 3, 3, 102]))
    augmentation = Augmentation(punctuation_dropout=1.0, punctuation_ids=(3,))
    assert all(_equal(x, sample) for x in _many(augmentation, sample, 20))


def test_a_still_picture_is_shown_for_a_while() -> None:
    sample = make_sample(1, frames=1)
    found = [x.video for x in _many(Augmentation(still_steps=5), sample)]
    assert {len(video) for video in found} == {1, 2, 3, 4, 5}
    for video in found:
        assert np.array_equal(video, sample.video.repeat(len(video), axis=0))


def test_a_moving_face_is_not_repeated() -> None:
    sample = make_sample(1, frames=2)
    assert all(len(x.video) == 2 for x in _many(Augmentation(still_steps=5), sample, 20))


def test_face_jitter_differs_a_row_and_face_offset_is_shared_by_a_clip_s_rows() -> None:
    sample = replace(make_sample(1), video=np.full((7, 3), 2.5, np.float32))
    for changed in _many(Augmentation(face_offset=0.1), sample, 20):
        assert np.ptp(changed.video, axis=0).tolist() == [0, 0, 0]
        assert len(np.unique(changed.video[0])) == 3
    jittered = np.concatenate([x.video for x in _many(Augmentation(face_jitter=0.1), sample)])
    assert jittered.std() == pytest.approx(0.1, rel=0.1)
    assert jittered.mean() == pytest.approx(2.5, abs=0.01)
    assert len(np.unique(jittered[:7])) == 21


def test_noise_is_in_each_column_s_own_spread() -> None:
    sample = replace(make_sample(1), audio=np.full((7, 5), 2.5, np.float32))
    spread = Spread(np.array([0, 1, 2, 3, 4], np.float32), SPREAD.video)
    random = np.random.default_rng(1)
    for augmentation in (Augmentation(voice_jitter=0.5), Augmentation(voice_offset=0.5)):
        rows = np.stack([augmentation.apply(sample, random, spread).audio for _ in range(500)])
        assert rows.std(axis=(0, 1)) == pytest.approx([0, 0.5, 1, 1.5, 2], rel=0.1)
        within = np.ptp(rows, axis=1)[:, 1:].max()
        assert within == 0 if augmentation.voice_offset else within > 1


def test_unknown_face_values_stay_unknown() -> None:
    video = np.full((3, 3), np.nan, np.float32)
    changed = _many(Augmentation(face_jitter=1.0), replace(make_sample(1), video=video), 1)
    assert bool(np.isnan(changed[0].video).all())


def test_a_cropped_sound_is_a_stretch_of_at_least_the_share() -> None:
    sample = replace(make_sample(1), audio=np.arange(20, dtype=np.float32)[:, None].repeat(5, 1))
    starts, lengths = set(), set()
    for changed in _many(Augmentation(audio_crop=0.5), sample):
        rows = changed.audio[:, 0]
        assert np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows)))
        starts.add(int(rows[0]))
        lengths.add(len(rows))
    assert lengths == set(range(10, 21))
    assert min(starts) == 0
    assert max(starts) > 5
