"""Feature files: what `prepare` writes is what training reads."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from model.corpus import load_corpus
from preprocessing import prepare, schema
from preprocessing.corpora import Item

IN_FORCE = schema.feature_schema("0" * 64)
DATA = Path(__file__).parents[3] / "shared" / "data"


def items() -> list[Item]:
    texts = [Item(f"t{i}", score=i / 100, split="train", text="so good " * i) for i in range(70)]
    return [*texts, Item("face", score=1.0, split="test", action_units=np.ones(17, np.float32))]


def test_what_is_written_is_what_training_reads(tmp_path: Path) -> None:
    path = prepare.prepare("mine", items(), tmp_path, workers=1, in_force=IN_FORCE)
    corpus = load_corpus(path)
    assert corpus.schema == IN_FORCE
    assert list(corpus.ids) == [item.name for item in items()]
    np.testing.assert_allclose(corpus.scores, [item.score for item in items()], rtol=1e-6)
    assert [len(sample.input_ids) for sample in corpus.samples[:3]] == [2, 4, 6]
    assert corpus.samples[-1].input_ids.shape == (0,)
    (face,) = corpus.samples[-1].video
    np.testing.assert_array_equal(face[:17], np.ones(17))
    assert np.isnan(face[17:]).all(), "a mean of action units says nothing of a shape"
    assert not list(tmp_path.glob("*/")), "parts are removed once the source is whole"


def test_a_part_that_is_there_is_not_computed_again(tmp_path: Path) -> None:
    target = tmp_path / "00000.npz"
    prepare.compute_part(items()[:3], target, IN_FORCE)
    before = target.read_bytes()
    prepare.compute_part(items()[3:6], target, IN_FORCE)
    assert target.read_bytes() == before


def test_action_units_are_held_for_the_length_of_the_sound() -> None:
    speech = DATA / "ravdess" / "speech" / "03-01-03-02-01-01-01.opus"
    if not speech.is_file():
        pytest.skip(f"{speech} is absent")
    item = Item("x", 2.2, "train", sound=speech, action_units=np.arange(17, dtype=np.float32))
    sample = prepare.sample_of(item, IN_FORCE)
    # Of 3 s, those in which something is said.
    assert len(sample.audio) == len(sample.video)
    assert 10 < len(sample.audio) < 30
    assert (sample.video[:, :17] == np.arange(17)).all()
    assert np.isnan(sample.video[:, 17:]).all()


def test_a_still_face_gives_one_row() -> None:
    archive = DATA / "fer2013.zip"
    if not archive.is_file():
        pytest.skip(f"{archive} is absent")
    with zipfile.ZipFile(archive) as faces:
        names = [n for n in faces.namelist() if n.startswith("valid/happy/")][:10]
        found = [
            prepare.sample_of(Item(n, 2.2, "valid", picture=faces.read(n)), IN_FORCE).video
            for n in names
        ]
    assert sum(len(rows) for rows in found) >= 8
