"""Clips to score, each with its words, and what a worker process makes of one.

In a module of its own: worker processes cannot import a package's ``__main__``.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.inputs import Sample
from preprocessing.errors import PreprocessingError
from preprocessing.features import default_tokenizer, extract
from preprocessing.schema import feature_schema
from preprocessing.tensors import to_sample
from preprocessing.transcript import read_transcript

MEDIA = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp")
    + (".wav", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".flac")
)
"""Files of a folder that are taken for clips."""

TRANSCRIPTS = (".txt", ".vtt", ".srt")
"""Endings of the file with a clip's words, in the order in which they are looked for."""


@dataclass(frozen=True, slots=True)
class Job:
    """A clip, and where its words are.

    Attributes:
        clip: its file.
        words: UTF-8 bytes of the transcript; None where there is none.
        suffix: how to read them: ``.txt``, ``.vtt`` or ``.srt``.
    """

    clip: Path
    words: bytes | None
    suffix: str = ".txt"


def jobs_of(paths: Sequence[Path], transcript: str | None) -> list[Job]:
    """The clips of files and folders, each with its words.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    clips: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (file for file in path.rglob("*") if file.suffix.lower() in MEDIA)
            clips += sorted(inside)
        elif path.is_file():
            clips.append(path)
        else:
            raise FileNotFoundError(f"{path} does not exist")
    if transcript is not None:
        return [Job(clip, transcript.encode()) for clip in clips]
    return [_with_words_beside(clip) for clip in clips]


def _with_words_beside(clip: Path) -> Job:
    for suffix in TRANSCRIPTS:
        words = clip.with_suffix(suffix)
        if words.is_file():
            return Job(clip, words.read_bytes(), suffix)
    return Job(clip, None)


def jobs_of_table(table: Path) -> list[Job]:
    """The clips of a CSV with the columns ``file`` and ``text``.

    Raises:
        ValueError: a column is missing.
    """
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = {"file", "text"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{table} has no column {', '.join(sorted(missing))}")
        return [Job(table.parent / row["file"], row["text"].encode()) for row in reader]


def extract_job(job: Job) -> tuple[Sample, tuple[str, ...]] | str:
    """A clip's sample and warnings, or why there are none."""
    if job.words is None:
        endings = ", ".join(TRANSCRIPTS)
        return f"no transcript: a file of the same name ({endings}) is expected beside the clip"
    try:
        features = extract(job.clip, read_transcript(job.words, job.suffix))
    except PreprocessingError as error:
        return f"{error.code}: {error}"
    except OSError as error:
        return f"unreadable: {error}"
    sample = to_sample(features, feature_schema(default_tokenizer().sha256))
    return sample, tuple(caution.code for caution in features.cautions)
