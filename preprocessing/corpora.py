"""The labelled sources as lists of `Item`: one reader a source, nothing decoded yet.

Every reader maps its labels to sentiment in [-3, 3] and splits by speaker. Emotion classes become
valence by `EMOTION_VALENCE`: a modelling choice, not a measurement.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preprocessing.schema import INTENSITY_COLUMNS

EMOTION_VALENCE = {
    "happy": 2.2,
    "surprised": 0.4,
    "surprise": 0.4,
    "calm": 0.3,
    "neutral": 0.0,
    "fearful": -1.6,
    "fear": -1.6,
    "sad": -1.8,
    "angry": -2.2,
    "disgust": -2.2,
}
"""Sentiment -3..3 that an acted or photographed emotion class stands for."""

RAVDESS_VALIDATION_ACTORS = (15, 16)
RAVDESS_TEST_ACTORS = (17, 18, 19, 20)
EMODB_VALIDATION_SPEAKERS = ("15", "16")


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled clip, sound, picture or sentence.

    Attributes:
        name: unique in its source.
        score: sentiment -3..3; NaN where nobody rated it.
        split: ``train``, ``valid`` or ``test``.
        speaker: who speaks; empty where the source does not say.
        text: the words; None = the source has none.
        clip: a media file with sound and picture.
        sound: a media file of which only the sound is used.
        picture: an encoded still of a face.
        action_units: (17,) clip means of AU intensities 0-5, held for the whole sound.
    """

    name: str
    score: float
    split: str
    speaker: str = ""
    text: str | None = None
    clip: Path | None = None
    sound: Path | None = None
    picture: bytes | None = None
    action_units: NDArray[np.float32] | None = None


def mosi(data: Path) -> Iterator[Item]:
    """CMU-MOSI's sentences with the official split (Zadeh et al., 2016)."""
    for row in _table(data / "mosi.csv"):
        speaker = row["segment_id"].rsplit("_", 1)[0]
        yield Item(row["segment_id"], row["sentiment"], row["split"], speaker, row["text"])


def mosei(data: Path) -> Iterator[Item]:
    """CMU-MOSEI's sentences with the official split (Bagher Zadeh et al., 2018)."""
    for row in _table(data / "mosei.csv"):
        speaker = row["segment_id"].split("$_$")[0]
        yield Item(row["segment_id"], row["sentiment"], row["split"], speaker, row["text"])


def reviews(data: Path) -> Iterator[Item]:
    """Rated snippets of film and product reviews (Hutto & Gilbert, 2014); valence -4..4 times 0.75.

    The file's tweets and editorials are left out: they are not opinions of the kind people speak
    into a camera.
    """
    for row in _table(data / "rated_snippets.csv"):
        if row["source"] in ("movieReview", "amazonReview"):
            name = f"{row['source']}-{row['snippet_id']}"
            yield Item(name, 0.75 * row["valence"], "train", text=row["text"])


def sst(data: Path) -> Iterator[Item]:
    """Stanford Sentiment Treebank sentences, official split; (positivity - .5) times 6."""
    for row in _table(data / "sst.csv"):
        score = 6 * (row["positivity"] - 0.5)
        yield Item(str(row["sentence_id"]), score, row["split"], text=_detokenised(row["text"]))


def unrated(data: Path) -> Iterator[Item]:
    """Text without a label, for a teacher to score.

    Tweets and editorials; pieces of sentences; and spliced sentences. The pieces are 4 to 16 words
    on end from the training sentences of MOSEI, the reviews and SST of at least 12 words, one for
    every 16 words begun: parts of statements, as speech often is. A spliced sentence is the
    beginning of a training sentence of MOSI or MOSEI and the end of another of the same, two for
    each of at least 4 words: what speakers say, as long as they say it, in turns that no label was
    learned for.
    """
    for row in _table(data / "rated_snippets.csv"):
        if row["source"] in ("tweets", "nytEditorial"):
            name = f"{row['source']}-{row['snippet_id']}"
            yield Item(name, float("nan"), "train", text=row["text"])
    random = np.random.default_rng(1)
    for reader in (mosei, reviews, sst):
        for item in reader(data):
            words = (item.text or "").split()
            if item.split != "train" or len(words) < 12:
                continue
            for number in range(-(-len(words) // 16)):
                length = int(random.integers(4, min(16, len(words) - 1) + 1))
                start = int(random.integers(len(words) - length + 1))
                piece = " ".join(words[start : start + length])
                yield Item(f"{item.name}-{number}", float("nan"), "train", text=piece)
    for reader in (mosi, mosei):
        yield from _spliced([item for item in reader(data) if item.split == "train"], random)


def _spliced(items: list[Item], random: np.random.Generator) -> Iterator[Item]:
    """Two sentences for each: its beginning, and the end of another."""
    sentences = [
        (item.name, words) for item in items if len(words := (item.text or "").split()) > 3
    ]
    for number in range(2):
        for index, (name, words) in enumerate(sentences):
            other = (index + int(random.integers(1, max(2, len(sentences))))) % len(sentences)
            ending = sentences[other][1]
            share = random.uniform(0.3, 0.7)
            spliced = words[: round(share * len(words))] + ending[round(share * len(ending)) :]
            yield Item(f"{name}-spliced-{number}", float("nan"), "train", text=" ".join(spliced))


def ravdess(data: Path) -> Iterator[Item]:
    """RAVDESS speech with OpenFace's action unit means of the matching video, by actor."""
    for row in _table(data / "ravdess" / "clips.csv"):
        split = "train"
        if row["actor"] in RAVDESS_VALIDATION_ACTORS:
            split = "valid"
        elif row["actor"] in RAVDESS_TEST_ACTORS:
            split = "test"
        yield Item(
            Path(row["file"]).stem,
            EMOTION_VALENCE[row["emotion"]],
            split,
            speaker=str(row["actor"]),
            text=row["text"],
            sound=data / "ravdess" / row["file"],
            action_units=np.array([row[name] for name in INTENSITY_COLUMNS], np.float32),
        )


def emodb(data: Path) -> Iterator[Item]:
    """EMO-DB's German utterances, voice alone (Burkhardt et al., 2005), by speaker."""
    table = pd.read_csv(data / "emodb" / "clips.csv", dtype={"speaker": str})
    for row in table.to_dict("records"):
        speaker = str(row["speaker"])
        yield Item(
            Path(row["file"]).stem,
            EMOTION_VALENCE[row["emotion"]],
            "valid" if speaker in EMODB_VALIDATION_SPEAKERS else "train",
            speaker=speaker,
            sound=data / "emodb" / row["file"],
        )


def fer2013(data: Path) -> Iterator[Item]:
    """FER2013's 48x48 faces with their own split (Goodfellow et al., 2013)."""
    with zipfile.ZipFile(data / "fer2013.zip") as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".jpg"):
                split, emotion, file = name.split("/")
                yield Item(
                    f"{emotion}-{Path(file).stem}",
                    EMOTION_VALENCE[emotion],
                    split,
                    picture=archive.read(name),
                )


def clips(table: Path) -> Iterator[Item]:
    """A researcher's own clips: a CSV beside them with columns file, text, score, split, speaker.

    Raises:
        KeyError: a column is missing.
        FileNotFoundError: a named file is not there.
    """
    for row in _table(table):
        path = table.parent / row["file"]
        if not path.is_file():
            raise FileNotFoundError(f"{table} names {row['file']}, which is not beside it.")
        yield Item(
            row["file"], row["score"], row["split"], str(row["speaker"]), row["text"], clip=path
        )


READERS: dict[str, Callable[[Path], Iterator[Item]]] = {
    "mosi": mosi,
    "mosei": mosei,
    "reviews": reviews,
    "sst": sst,
    "unrated": unrated,
    "ravdess": ravdess,
    "emodb": emodb,
    "fer2013": fer2013,
}


def _table(path: Path) -> list[dict[str, Any]]:
    table = pd.read_csv(path, keep_default_na=False)
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _detokenised(text: str) -> str:
    """Undo the treebank's spacing, which no speaker and no recogniser writes."""
    for spaced, plain in ((" n't", "n't"), (" '", "'"), (" ,", ","), (" .", "."), ("\\/", "/")):
        text = text.replace(spaced, plain)
    return text.replace("-LRB-", "(").replace("-RRB-", ")").replace("``", '"')
