"""The teacher: another vocabulary, means over real tokens, and scores beside a feature file."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.corpus import load_corpus
from model.inputs import collate
from model.training.mean_pooled import MeanPooled, load_mean_pooled
from model.training.recipe import CorpusUse, Recipe, RecipeError
from model.training.teacher import fetch, load_taught, main
from model.training.train import train
from tests.model.conftest import Labelled, make_sample, write_corpus

PIECES = ["[PAD]", *(f"w{i}" for i in range(1, 197)), "[CLS]", "[SEP]", "[UNK]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """The tiny BERT with a vocabulary in another order and MPNet's names for special pieces."""
    target = tmp_path_factory.mktemp("teacher") / "encoder"
    shutil.copytree(tiny_encoder, target)
    renamed = ["<s>", "<pad>", "</s>", *PIECES[1:197], "[UNK]"]
    (target / "vocab.txt").write_text("\n".join(renamed) + "\n")
    (target / "read.txt").write_text("\n".join(PIECES) + "\n")
    return target


def _teacher(folder: Path) -> MeanPooled:
    torch.manual_seed(1)
    return MeanPooled.from_folder(folder, folder / "read.txt").eval()


def test_ids_are_looked_up_by_the_pieces_they_stand_for(folder: Path) -> None:
    ids = _teacher(folder).id_map.tolist()
    assert (ids[0], ids[1], ids[196], ids[197], ids[198], ids[199]) == (1, 3, 198, 0, 2, 199)


def test_a_piece_that_the_encoder_lacks_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "read.txt").write_text("w1\nunheard\n")
    with pytest.raises(KeyError, match="unheard"):
        MeanPooled.from_folder(folder, tmp_path / "read.txt")


def test_the_score_is_the_head_of_the_mean_over_real_tokens(folder: Path) -> None:
    teacher = _teacher(folder)
    samples = [make_sample(1, 3, 0, 0), make_sample(2, 7, 0, 0)]
    with torch.inference_mode():
        outputs = teacher(collate(samples))
        for index, sample in enumerate(samples):
            ids = teacher.id_map[torch.from_numpy(sample.input_ids)][None]
            mean = teacher.encoder(input_ids=ids).last_hidden_state[0].mean(0)
            expected = mean @ teacher.head.weight[0] + teacher.head.bias[0]
            assert float(outputs.score[index]) == pytest.approx(float(expected), abs=1e-5)
    assert outputs.path_gate.isnan().all()
    assert outputs.layer_gates.shape == (2, 0, 3)


def test_a_teacher_is_trained_scores_a_corpus_and_is_learned_from(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(folder / "read.txt", tmp_path / "vocab.txt")
    monkeypatch.setattr("model.training.mean_pooled.encoder_folder", lambda _: tmp_path)
    random = np.random.default_rng(3)
    items = []
    for index in range(300):
        sample = make_sample(index, 6, 0, 0)
        mood = float(random.choice([-2, 2]))
        ids = np.where(sample.input_ids == 77, 78, sample.input_ids % 190 + 1)
        ids[3] = 77 if mood > 0 else 33
        split = "train" if index < 250 else "valid"
        items.append(Labelled(replace(sample, input_ids=ids), mood, f"t{index}", split))
    write_corpus(tmp_path / "words.npz", items)
    recipe = Recipe(
        "teacher",
        (CorpusUse("words", select=1.0),),
        architecture="mean-pooled",
        epochs=12,
        batch_size=16,
        encoder_rate=5e-3,
        fusion_rate=5e-2,
        encoder_dropout=0.0,
    )
    path = train(
        recipe, tmp_path, tmp_path / "out", device=torch.device("cpu"), encoder_folder=folder
    )
    corpus = load_corpus(tmp_path / "words.npz")
    main(
        [
            *(str(path), "words", "--encoder", str(folder)),
            *("--features", str(tmp_path), "--device", "cpu"),
        ]
    )
    scores = load_taught(tmp_path / "words.taught.npz", corpus)
    held_out = corpus.splits == "valid"
    assert np.mean((scores > 0)[held_out] == (corpus.scores > 0)[held_out]) > 0.9
    again = load_mean_pooled(path, folder)
    with torch.inference_mode():
        first = again(collate(corpus.samples[:1])).score
    assert float(first) == pytest.approx(float(scores[0]), abs=0.05)


def test_a_teacher_s_scores_belong_to_the_items_they_were_made_for(tmp_path: Path) -> None:
    items = [Labelled(make_sample(i, 3, 0, 0), 1.0, f"f{i}") for i in range(4)]
    corpus = load_corpus(write_corpus(tmp_path / "films.npz", items))
    path = tmp_path / "films.taught.npz"
    with pytest.raises(FileNotFoundError, match=r"films\.taught\.npz is missing.*teacher"):
        load_taught(path, corpus)
    np.savez(path, id=corpus.ids, score=np.arange(4, dtype=np.float32))
    assert load_taught(path, corpus).tolist() == [0, 1, 2, 3]
    with pytest.raises(RecipeError, match="another films"):
        load_taught(path, corpus.where(np.arange(4) < 3))


def test_what_is_there_is_not_fetched_and_another_encoder_is_refused(tmp_path: Path) -> None:
    there = tmp_path / "all-mpnet-base-v2"
    there.mkdir()
    (there / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(ValueError, match="not the pinned encoder"):
        fetch(tmp_path)


def test_scoring_without_a_checkpoint_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert "--encoder" in capsys.readouterr().err
