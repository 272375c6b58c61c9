"""The teachers of voice and face: what they learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.corpus import Corpus, load_corpus
from model.training.clip_statistics import (
    Statistics,
    face_statistics,
    joint_statistics,
    voice_statistics,
)
from model.training.cue_teacher import (
    FER2013_TRAINING,
    RAVDESS_EVEN,
    ExpectedScore,
    Mean,
    VoiceAndFace,
    fit_face_teacher,
    fit_joint_teacher,
    fit_picture_teacher,
    fit_voice_teacher,
    kinds,
    prior,
    root,
    small_network,
)
from preprocessing.corpora import EMOTION_VALENCE
from tests.model.conftest import Labelled, make_sample, write_corpus

NAN = float("nan")


class _Told:
    """A classifier that has made up its mind: three parts of four for the first class."""

    classes_ = np.array(["happy", "sad"])

    def fit(self, clips: np.ndarray, classes: np.ndarray) -> None:
        assert len(clips) == len(classes) == 3

    def predict_proba(self, clips: np.ndarray) -> np.ndarray:
        return np.array([[0.75, 0.25]] * len(clips))


def test_an_expected_score_is_the_mean_over_what_a_clip_may_be() -> None:
    teacher = ExpectedScore(_Told())
    scores, classes = np.array([2, 1, -2], np.float32), np.array(["happy", "happy", "sad"])
    teacher.fit(np.zeros((3, 5)), scores, classes)
    # Happy clips score 1.5 on average, sad ones -2.
    assert teacher.predict(np.zeros((2, 5))) == pytest.approx([0.625, 0.625])


def test_a_class_that_comes_more_often_than_it_is_shown_is_thought_likelier() -> None:
    teacher = ExpectedScore(_Told(), {"happy": 0.5, "sad": 3.0})
    classes = np.array(["happy", "happy", "sad"])
    teacher.fit(np.zeros((3, 5)), np.array([2, 1, -2], np.float32), classes)
    # .75 x .5 to .25 x 3 is one to two, of 1.5 and -2.
    assert teacher.predict(np.zeros((2, 5))) == pytest.approx([-2.5 / 3] * 2)


def test_roots_keep_signs() -> None:
    found = root(np.array([[4.0, -9.0, 0.0]]))
    assert found == pytest.approx(np.array([[2.0, -3.0, 0.0]]))


def pictures_of(tmp_path: Path, names: list[str]) -> Corpus:
    items = [Labelled(make_sample(i, 3, 0, 1), 0.0, f"{n}-{i}") for i, n in enumerate(names)]
    return load_corpus(write_corpus(tmp_path / "fer2013.npz", items))


def test_pictures_come_as_often_as_the_published_data_have_them(tmp_path: Path) -> None:
    corpus = pictures_of(tmp_path, ["happy", "happy", "angry", "angry", "angry"])
    often = prior(corpus)
    published = FER2013_TRAINING["happy"] / FER2013_TRAINING["angry"]
    assert 2 * often["happy"] / (3 * often["angry"]) == pytest.approx(published)
    assert 2 * often["happy"] + 3 * often["angry"] == pytest.approx(5)
    # Of other pictures nothing is known but what is there.
    assert prior(replace(corpus, name="mine")) == {"0": 1.0}


def test_all_published_pictures_are_counted() -> None:
    assert sum(FER2013_TRAINING.values()) == 28_709


RAVDESS_NAMES = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}


def test_happy_clips_are_as_frequent_as_makes_the_mean_of_ravdess_neutral() -> None:
    scores = [EMOTION_VALENCE[RAVDESS_NAMES[code]] for code in RAVDESS_EVEN]
    assert np.average(scores, weights=list(RAVDESS_EVEN.values())) == pytest.approx(0, abs=0.01)
    # The others as RAVDESS has them: two intensities, but of neutral one.
    assert {code: count for code, count in RAVDESS_EVEN.items() if code != "03"} == {
        code: 1 if code == "01" else 2 for code in RAVDESS_NAMES if code != "03"
    }


def test_only_happy_clips_of_ravdess_weigh_more(tmp_path: Path) -> None:
    codes = ["01", *(code for code in RAVDESS_NAMES if code != "01" for _ in range(2))]
    names = [f"03-01-{code}-01-01-01-01" for code in codes]
    items = [Labelled(make_sample(i, 3, 5, 0), 0.0, name) for i, name in enumerate(names)]
    often = prior(load_corpus(write_corpus(tmp_path / "ravdess.npz", items)))
    assert often.pop("03") / often["04"] == pytest.approx(3.25)
    assert len({round(share, 6) for share in often.values()}) == 1


def lower_where_happy_is_rare(
    fit: Callable[[Corpus, dict[str, float]], Mean],
    corpus: Corpus,
    clips: Statistics,
    happy: str,
    angry: str,
) -> bool:
    """Whether each part of a teacher scores less where it is told that happy ones are rare."""
    even, rare = ({happy: share, angry: 2 - share} for share in (1.0, 0.4))
    before, after = fit(corpus, even).teachers, fit(corpus, rare).teachers
    return all(
        poorer.predict(clips).mean() < richer.predict(clips).mean() - 0.2
        for richer, poorer in zip(before, after, strict=True)
    )


def test_the_teacher_of_pictures_thinks_of_smiles_as_often_as_it_is_told(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    corpus = pictures_of(tmp_path, ["happy", "angry"] * 40)
    for index, sample in enumerate(corpus.samples):
        corpus.scores[index] = 2.2 if index % 2 == 0 else -2.2
        sample.video[:, 2] = random.normal(corpus.scores[index], 2)
    seen = face_statistics(corpus)
    assert lower_where_happy_is_rare(fit_picture_teacher, corpus, seen, "happy", "angry")


def test_the_teacher_of_voices_thinks_of_happy_ones_as_often_as_it_is_told(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    items = []
    for index in range(80):
        code, score = (("03", 2.2), ("05", -2.2))[index % 2]
        sample = make_sample(index, 3, 5, 0)
        sample.audio[:, 1] = random.normal(score, 2)
        items.append(Labelled(sample, score, f"03-01-{code}-01-01-{index:02}-01"))
    corpus = load_corpus(write_corpus(tmp_path / "ravdess.npz", items))
    heard = voice_statistics(corpus)
    assert lower_where_happy_is_rare(fit_voice_teacher, corpus, heard, "03", "05")


def test_voice_and_face_are_heard_and_seen_apart() -> None:
    random = np.random.default_rng(3)
    classes = np.array(["happy"] * 30 + ["sad"] * 90)
    signs = np.where(classes == "happy", 1.0, -1.0)
    voice, face = (signs[:, None] * 0.7 + random.normal(size=(120, 2)) for _ in range(2))
    told = VoiceAndFace(2).fit(np.concatenate([voice, face], axis=1), classes)
    assert told.classes_.tolist() == ["happy", "sad"]
    clip = np.array([[0.5, 0.4, 0.9, -0.1]])
    (heard,) = small_network().fit(voice, classes).predict_proba(clip[:, :2])
    (seen,) = small_network().fit(face, classes).predict_proba(clip[:, 2:])
    # A quarter of the clips is happy, which both take for granted: it must not count twice.
    odds = (heard[0] + 0.001) / (heard[1] + 0.001) * (seen[0] + 0.001) / (seen[1] + 0.001) * 3
    (happy, sad) = told.predict_proba(clip)[0]
    assert happy / sad == pytest.approx(odds)
    assert happy + sad == pytest.approx(1)


def test_teachers_are_averaged() -> None:
    told = ExpectedScore(_Told())
    told.fit(np.zeros((3, 5)), np.array([1, 1, -3], np.float32), np.array(["happy"] * 2 + ["sad"]))
    other = ExpectedScore(_Told())
    other.fit(np.zeros((3, 5)), np.array([3, 3, 3], np.float32), np.array(["happy"] * 2 + ["sad"]))
    # 0.75 - 0.75 = 0 and 3.
    assert Mean((told, other)).predict(np.zeros((1, 5))) == pytest.approx([1.5])


def test_kinds_are_emotions_where_names_tell_them_and_elsewhere_the_steps_of_the_score(
    tmp_path: Path,
) -> None:
    names = ("03-01-05-02-01-01-07", "03-01-07-01-01-01-07")
    scores = (-0.3, 0.3)
    items = [Labelled(make_sample(i, 3, 5, 4), scores[i], name) for i, name in enumerate(names)]
    corpus = load_corpus(write_corpus(tmp_path / "ravdess.npz", items))
    assert kinds(corpus).tolist() == ["05", "07"]
    # Both are neutral: there is no 0 of another sign.
    assert kinds(replace(corpus, name="mine")).tolist() == ["0", "0"]
    pictures = replace(corpus, name="fer2013", ids=np.array(["happy-17", "disgust-2"]))
    assert kinds(pictures).tolist() == ["happy", "disgust"]


def moods(tmp_path: Path, *, voice: float, face: float, clips: int = 120) -> tuple[Corpus, Corpus]:
    """Clips of ten speakers whose voices and faces show the score this clearly; two are held."""
    random = np.random.default_rng(5)
    items = []
    for index in range(clips):
        sample = make_sample(index, 3, 12, 4)
        mood = random.uniform(-1, 1)
        sample.audio[:, 1] += voice * mood
        sample.video[:, 2] += face * mood
        speaker = index % 10
        split = "test" if speaker > 7 else "train"
        items.append(Labelled(sample, 2 * mood, f"c{index}", split, speaker=f"s{speaker}"))
    corpus = load_corpus(write_corpus(tmp_path / "acted.npz", items))
    return corpus.split("train"), corpus.split("test")


def test_each_teacher_tells_the_mood_of_speakers_it_was_not_fitted_to(tmp_path: Path) -> None:
    train, held = moods(tmp_path, voice=3.0, face=6.0)
    for fit, measure in (
        (fit_voice_teacher, voice_statistics),
        (fit_face_teacher, face_statistics),
        (fit_picture_teacher, face_statistics),
        (fit_joint_teacher, joint_statistics),
    ):
        scores = fit(train).predict(measure(held))
        assert np.corrcoef(scores, held.scores)[0, 1] > 0.8, fit.__name__


def test_the_joint_teacher_goes_by_what_tells_more(tmp_path: Path) -> None:
    train, held = moods(tmp_path, voice=0.0, face=6.0, clips=360)
    teacher = fit_joint_teacher(train)
    before = teacher.predict(joint_statistics(held))
    for sample in held.samples:
        sample.audio[:] += 1
    other_voices = teacher.predict(joint_statistics(held))
    for sample in held.samples:
        sample.video[:, 2] += 3
    other_faces = teacher.predict(joint_statistics(held))
    assert np.abs(other_voices - before).mean() < 0.3
    assert (other_faces - other_voices).mean() > 0.5
