"""The readers of labelled sources, on small tables written here."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from preprocessing import corpora
from preprocessing.schema import INTENSITY_COLUMNS


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def test_mosi_takes_speaker_and_split_from_the_table(tmp_path: Path) -> None:
    write(tmp_path / "mosi.csv", "segment_id,text,sentiment,split", "a_b_12,so good,2.4,train")
    (item,) = corpora.mosi(tmp_path)
    assert (item.name, item.speaker, item.split, item.score) == ("a_b_12", "a_b", "train", 2.4)
    assert item.text == "so good"


def test_words_that_pandas_takes_for_missing_stay_words(tmp_path: Path) -> None:
    write(tmp_path / "mosei.csv", "segment_id,text,sentiment,split", "v$_$1_2,null,0.0,test")
    (item,) = corpora.mosei(tmp_path)
    assert (item.text, item.speaker) == ("null", "v")


def test_reviews_are_scaled_and_tweets_left_out(tmp_path: Path) -> None:
    write(
        tmp_path / "rated_snippets.csv",
        "source,snippet_id,text,valence",
        "movieReview,1,fine,-4.0",
        "tweets,2,lol,3.0",
    )
    (item,) = corpora.reviews(tmp_path)
    assert (item.name, item.score, item.split) == ("movieReview-1", -3.0, "train")


def test_unrated_text_is_tweets_editorials_and_pieces_of_training_sentences(tmp_path: Path) -> None:
    words = [f"w{i}" for i in range(20)]
    write(
        tmp_path / "rated_snippets.csv",
        "source,snippet_id,text,valence",
        f"movieReview,1,{' '.join(words)},2.0",
        "tweets,2,lol,3.0",
        "nytEditorial,3,hm,1.0",
    )
    write(
        tmp_path / "mosei.csv",
        "segment_id,text,sentiment,split",
        "v$_$1,too short,0.0,train",
        f"v$_$2,{' '.join('x' * 30)},0.0,test",
    )
    write(tmp_path / "mosi.csv", "segment_id,text,sentiment,split")
    write(tmp_path / "sst.csv", "sentence_id,text,positivity,split")
    items = list(corpora.unrated(tmp_path))
    assert [item.name for item in items] == [
        "tweets-2",
        "nytEditorial-3",
        "movieReview-1-0",
        "movieReview-1-1",
    ]
    assert all(np.isnan(item.score) and item.split == "train" for item in items)
    for item in items[2:]:
        piece = (item.text or "").split()
        start = words.index(piece[0])
        assert piece == words[start : start + len(piece)]
        assert 4 <= len(piece) <= 16


def test_spliced_sentences_begin_as_one_training_sentence_and_end_as_another(
    tmp_path: Path,
) -> None:
    sentences = {name: [f"{name}{i}" for i in range(10)] for name in "abc"}
    rows = [f"v_{name},{' '.join(words)},0.0,train" for name, words in sentences.items()]
    heldout = "v_d,this must never be taught,0.0,test"
    write(tmp_path / "mosi.csv", "segment_id,text,sentiment,split", *rows, heldout)
    write(tmp_path / "mosei.csv", "segment_id,text,sentiment,split")
    write(tmp_path / "rated_snippets.csv", "source,snippet_id,text,valence")
    write(tmp_path / "sst.csv", "sentence_id,text,positivity,split")
    items = list(corpora.unrated(tmp_path))
    assert [item.name for item in items] == [f"v_{n}-spliced-{i}" for i in (0, 1) for n in "abc"]
    for item in items:
        words = (item.text or "").split()
        first, last = words[0][0], words[-1][0]
        assert item.name.startswith(f"v_{first}")
        assert first != last
        beginning = [word for word in words if word.startswith(first)]
        ending = words[len(beginning) :]
        assert beginning == sentences[first][: len(beginning)]
        assert 3 <= len(beginning) <= 7
        assert ending == sentences[last][len(beginning) :]


def test_treebank_spacing_is_undone(tmp_path: Path) -> None:
    write(
        tmp_path / "sst.csv",
        "sentence_id,text,positivity,split",
        "1,\"It does n't work , `` they '' say .\",0.25,valid",
    )
    (item,) = corpora.sst(tmp_path)
    assert item.text == "It doesn't work, \" they'' say."
    assert item.score == pytest.approx(-1.5)


@pytest.mark.parametrize(("actor", "split"), [(1, "train"), (15, "valid"), (20, "test")])
def test_ravdess_is_split_by_actor_and_keeps_the_units_in_schema_order(
    tmp_path: Path, actor: int, split: str
) -> None:
    units = ",".join(INTENSITY_COLUMNS)
    write(
        tmp_path / "ravdess" / "clips.csv",
        f"file,actor,sex,emotion,intensity,text,repetition,{units}",
        f"speech/x.opus,{actor},m,fearful,strong,Kids,1," + ",".join(str(i) for i in range(17)),
    )
    (item,) = corpora.ravdess(tmp_path)
    assert (item.split, item.score) == (split, -1.6)
    assert item.action_units is not None
    np.testing.assert_array_equal(item.action_units, np.arange(17))


def test_no_speaker_of_emodb_is_in_two_splits(tmp_path: Path) -> None:
    write(
        tmp_path / "emodb" / "clips.csv",
        "file,speaker,emotion,sentence",
        "speech/a.opus,03,happy,a01",
        "speech/b.opus,15,sad,a01",
    )
    assert [item.split for item in corpora.emodb(tmp_path)] == ["train", "valid"]


def test_fer2013_labels_come_from_the_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "fer2013.zip", "w") as archive:
        archive.writestr("valid/disgust/1.jpg", b"picture")
    (item,) = corpora.fer2013(tmp_path)
    assert (item.name, item.split, item.score) == ("disgust-1", "valid", -2.2)
    assert item.picture == b"picture"


def test_a_clip_that_is_not_beside_its_table_is_named(tmp_path: Path) -> None:
    write(tmp_path / "mine.csv", "file,text,score,split,speaker", "gone.mp4,hi,1,train,me")
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4"):
        list(corpora.clips(tmp_path / "mine.csv"))
