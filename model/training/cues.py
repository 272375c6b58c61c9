"""Training corpora for voice and face: ``python -m model.training.cues``.

Nobody has labelled statements with their voices and faces at hand: MOSI's and MOSEI's come as
words, RAVDESS's actors say two neutral sentences, FER2013 is pictures. This makes from them

* ``voices``, ``faces``, ``acted``: changed copies of the training actors' clips, with sound, face,
  or both, and without words, scored by the teachers of `model.training.cue_teacher`. Copies have
  other levels, another voice's offsets, another speed, or are mixtures of two clips;
* ``pictures``: the same from FER2013's training pictures;
* ``spoken``: sentences with the voice, the face, or both, of such a copy. Their score is `compose`
  of the sentence's label and the copy's score: a modelling choice. Its validation and test items
  are sentences and actors of those splits, scored from the labels of both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from model.corpus import Corpus, joined, load_corpus, save_corpus
from model.inputs import Sample
from model.training.clip_statistics import (
    Rows,
    Statistics,
    face_statistics,
    joint_statistics,
    voice_statistics,
)
from model.training.cue_teacher import (
    Teacher,
    fit_face_teacher,
    fit_joint_teacher,
    fit_picture_teacher,
    fit_voice_teacher,
)
from model.training.datasets import Spread

Number = TypeVar("Number", float, NDArray[np.float32])


@dataclass(frozen=True, slots=True)
class Changes:
    """How far the copies go from their clips; lengths in standard deviations of the columns.

    Attributes:
        offset: of what is added to every row alike, as another voice and room would.
        jitter: of what is added to each row.
        liveliness: of the logarithm of the factor on the rows' distance from their mean.
        speed: largest factor of duration, up and down.
        mixed: share of the copies that are mixtures of two clips, brought to one length.
    """

    offset: float = 0.7
    jitter: float = 0.1
    liveliness: float = 0.15
    speed: float = 1.25
    mixed: float = 0.5


JOINT_CHANGES = Changes(offset=0.4)
"""Of voice and face together: less, for between them they have the more columns to be off in."""

PICTURE_CHANGES = Changes(offset=0.3, jitter=0.0, liveliness=0.0, speed=1.0)
"""A face's columns hang together, so that much noise makes faces that nobody has."""


def compose(words: Number, cue: Number) -> Number:
    """Score of a clip whose words alone say `words`, and whose voice and face say `cue`; -3..3.

    words + (1 - |words| / 3)² cue: clear words stay what they are, neutral ones take on the tone.
    """
    weight = (1 - np.abs(words) / 3) ** 2
    clipped: Number = np.clip(words + weight * cue, -3, 3)
    return clipped


def spread_of(corpus: Corpus) -> Spread:
    """Standard deviations of a corpus's rows, 0 for columns without any value."""

    def deviation(name: str) -> Rows:
        joined = np.concatenate([getattr(sample, name) for sample in corpus.samples])
        known = ~np.isnan(joined)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, joined, 0).sum(axis=0) / count
        squares = np.where(known, (joined - mean) ** 2, 0).sum(axis=0) / count
        return np.asarray(np.sqrt(squares), np.float32)

    return Spread(deviation("audio"), deviation("video"))


def changed(
    sample: Sample, other: Sample, spread: Spread, how: Changes, random: np.random.Generator
) -> Sample:
    """A changed copy of a clip's voice and face; `other` is the clip that may be mixed in."""
    share = random.uniform(0.3, 0.7) if random.random() < how.mixed else 1.0
    speed = how.speed ** random.uniform(-1, 1)

    def copy(rows: Rows, others: Rows, deviations: Rows) -> Rows:
        if not len(rows):
            return rows
        length = max(min(4, len(rows)), round(len(rows) * speed))
        values = _resampled(rows, length)
        if share < 1 and len(others):
            values = share * values + (1 - share) * _resampled(others, length)
        known = ~np.isnan(values)
        mean = np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        values = mean + (values - mean) * np.exp(random.normal(0, how.liveliness))
        noise = random.normal(0, how.offset, rows.shape[1])
        noise = noise + random.normal(0, how.jitter, values.shape)
        return np.asarray(values + noise * deviations, np.float32)

    return Sample(
        sample.input_ids,
        copy(sample.audio, other.audio, spread.audio),
        copy(sample.video, other.video, spread.video),
    )


def _resampled(rows: Rows, length: int) -> Rows:
    """Rows at `length` even places; between a known and an unknown value nothing is known."""
    places = np.linspace(0, len(rows) - 1, length)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, len(rows) - 1)
    part = (places - low)[:, None].astype(np.float32)
    between: Rows = np.where(part == 0, rows[low], (1 - part) * rows[low] + part * rows[high])
    return between


def copies(
    corpus: Corpus,
    name: str,
    modalities: Sequence[str],
    teacher: Teacher,
    measure: Callable[[Corpus], Statistics],
    *,
    count: int,
    how: Changes,
    seed: int,
) -> Corpus:
    """Changed copies of a corpus's clips with a teacher's scores.

    Args:
        corpus: clips of training speakers only.
        name: of the new corpus.
        modalities: what the copies keep; clips that have not all of them are left out.
        teacher: fitted to `measure` of the same corpus.
        measure: statistics of a corpus.
        count: copies of each clip.
        how: the changes.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    kept = corpus.only(modalities)
    whole = [all(len(getattr(sample, m)) for m in modalities) for sample in kept.samples]
    kept = kept.where(np.array(whole))
    spread = spread_of(kept)
    chosen = np.tile(np.arange(len(kept)), count)
    samples = [
        changed(
            kept.samples[index],
            kept.samples[random.integers(len(kept))],
            spread,
            how,
            random,
        )
        for index in tqdm(chosen, desc=name, disable=None)
    ]
    made = Corpus(
        name=name,
        schema=corpus.schema,
        samples=samples,
        scores=np.zeros(len(samples), np.float32),
        ids=np.array([f"{kept.ids[i]}-{n // len(kept)}" for n, i in enumerate(chosen)], np.str_),
        speakers=kept.speakers[chosen],
        splits=np.full(len(chosen), "train"),
        texts=np.full(len(chosen), ""),
    )
    scores = np.clip(teacher.predict(measure(made)), -3, 3)
    return replace(made, scores=scores.astype(np.float32))


def spoken(
    sentences: Sequence[Corpus], cues: Sequence[Corpus], *, count: int, split: str, seed: int
) -> Corpus:
    """Sentences with the voices and faces of other clips, scored by `compose`.

    Args:
        sentences: corpora with words, each drawn from as often as the others; `scores` are what
            the words say.
        cues: corpora with voices, faces or both, likewise; `scores` are what they say.
        count: items to make.
        split: of the items.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    samples, scores, ids, speakers, texts = [], [], [], [], []
    for number in range(count):
        words, tone = sentences[number % len(sentences)], cues[int(random.integers(len(cues)))]
        at, of = random.integers(len(words)), random.integers(len(tone))
        samples.append(replace(tone.samples[of], input_ids=words.samples[at].input_ids))
        scores.append(compose(float(words.scores[at]), float(tone.scores[of])))
        ids.append(f"{words.ids[at]}+{tone.ids[of]}")
        speakers.append(str(tone.speakers[of]))
        texts.append(str(words.texts[at]))
    return Corpus(
        name="spoken",
        schema=sentences[0].schema,
        samples=samples,
        scores=np.array(scores, np.float32),
        ids=np.array(ids, np.str_),
        speakers=np.array(speakers, np.str_),
        splits=np.full(count, split),
        texts=np.array(texts, np.str_),
    )


def cue_corpora(actors: Corpus, pictures: Corpus, *, seed: int) -> list[Corpus]:
    """The corpora ``voices``, ``faces``, ``acted`` and ``pictures``.

    Args:
        actors: clips of training actors with sound and face.
        pictures: training pictures of faces.
        seed: of the random numbers.
    """
    heard, seen = actors.only(["audio"]), actors.only(["video"])
    both = actors.where(np.array([len(s.audio) > 0 and len(s.video) > 0 for s in actors.samples]))
    voice = fit_voice_teacher(heard), voice_statistics
    face = fit_face_teacher(seen), face_statistics
    joint = fit_joint_teacher(both), joint_statistics
    picture = fit_picture_teacher(pictures), face_statistics
    how, still, together = Changes(), PICTURE_CHANGES, JOINT_CHANGES
    return [
        copies(heard, "voices", ["audio"], *voice, count=16, how=how, seed=seed),
        copies(seen, "faces", ["video"], *face, count=16, how=how, seed=seed + 1),
        copies(both, "acted", ["audio", "video"], *joint, count=16, how=together, seed=seed + 2),
        copies(pictures, "pictures", ["video"], *picture, count=4, how=still, seed=seed + 3),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the corpora from the command line."""
    parser = argparse.ArgumentParser(prog="python -m model.training.cues", description=__doc__)
    parser.add_argument("--features", type=Path, default=Path("build/features"))
    parser.add_argument("--acted", default="ravdess", help="clips with acted voices and faces")
    parser.add_argument("--pictures", default="fer2013", help="pictures of faces")
    parser.add_argument("--sentences", nargs="+", default=["mosi", "mosei", "reviews"])
    parser.add_argument("--spoken", type=int, default=24_000, help="sentences with voice and face")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    folder = options.features
    clips = load_corpus(folder / f"{options.acted}.npz")
    pictures = load_corpus(folder / f"{options.pictures}.npz").split("train").only(["video"])
    said = [load_corpus(folder / f"{name}.npz") for name in options.sentences]
    made = cue_corpora(clips.split("train"), pictures, seed=options.seed)
    voices, faces, acted, _ = made
    learned = spoken(
        [words.split("train") for words in said],
        # A clip usually has both voice and face.
        [voices, faces, acted, acted],
        count=options.spoken,
        split="train",
        seed=options.seed + 4,
    )
    parts = [learned]
    for split in ("valid", "test"):
        held = [words.split(split) for words in said if (words.splits == split).any()]
        tones = clips.split(split).only(["audio", "video"])
        count = max(1, options.spoken // 24)
        parts.append(spoken(held, [tones], count=count, split=split, seed=options.seed))
    for corpus in (*made, joined(parts)):
        save_corpus(folder / f"{corpus.name}.npz", corpus)
        sys.stdout.write(f"{folder / corpus.name}.npz: {len(corpus)} items\n")


if __name__ == "__main__":
    main()
