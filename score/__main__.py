"""Score clips without a server: ``python -m score CLIP_OR_FOLDER ...``.

    python -m score clip.mp4 --transcript "I really liked it"
    python -m score recordings/ --out scores.csv
    python -m score --table clips.csv --out scores.jsonl

The words of a clip are in a file of the same name beside it (.txt, .vtt or .srt), in the table
(columns ``file`` and ``text``; files are looked for beside the table), or given on the command
line for a single clip. A clip that cannot be scored has an ``error`` in its line and makes the exit
code 1; the others are scored all the same.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from model.checkpoint import DEFAULT_CHECKPOINT
from model.inputs import Sample
from model.predictor import Predictor
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

BATCH = 16
"""Clips in one call of the model."""


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


@dataclass(frozen=True, slots=True)
class Line:
    """What is written of a clip; empty but for the file where there is an error.

    Attributes:
        file: the clip, as it was given.
        score: sentiment, -3..3.
        low: lower end of the 90 % interval; None where the weights are not calibrated.
        high: upper end.
        global_weight: weight of the global path, 0..1.
        local_weight: weight of the local path.
        warnings: codes of what to know about the score.
        error: why there is no score.
    """

    file: str
    score: float | None = None
    low: float | None = None
    high: float | None = None
    global_weight: float | None = None
    local_weight: float | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None


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


def score(jobs: Sequence[Job], predictor: Predictor, workers: int) -> Iterator[Line]:
    """A line a clip, in their order.

    Args:
        jobs: the clips.
        predictor: the weights.
        workers: processes that extract features.
    """
    # A fresh interpreter a worker: the tracker's threads do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        extracted = zip(jobs, pool.map(extract_job, jobs), strict=True)
        while batch := list(islice(extracted, BATCH)):
            samples = [found[0] for _, found in batch if not isinstance(found, str)]
            predictions = iter(predictor.predict(samples) if samples else ())
            for job, found in batch:
                if isinstance(found, str):
                    yield Line(str(job.clip), error=found)
                    continue
                prediction = next(predictions)
                low, high = prediction.interval or (None, None)
                yield Line(
                    str(job.clip),
                    max(-3.0, min(3.0, prediction.raw_score)),
                    low,
                    high,
                    prediction.global_weight,
                    prediction.local_weight,
                    found[1],
                )


def write(lines: Iterable[Line], target: TextIO, *, as_csv: bool) -> int:
    """Write lines as they come, as CSV or as JSON lines; returns how many have an error."""
    table = csv.DictWriter(target, [field.name for field in fields(Line)], lineterminator="\n")
    if as_csv:
        table.writeheader()
    failed = 0
    for line in lines:
        failed += line.error is not None
        if as_csv:
            table.writerow(asdict(line) | {"warnings": " ".join(line.warnings)})
        else:
            target.write(json.dumps(asdict(line), ensure_ascii=False) + "\n")
        target.flush()
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Score clips from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m score",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clips", nargs="*", type=Path, help="clips, and folders of clips")
    parser.add_argument("--transcript", help="the words of a single clip")
    parser.add_argument("--table", type=Path, help="CSV with the columns file and text")
    parser.add_argument(
        "--out", type=Path, help=".csv or .jsonl; JSON lines to the screen if absent"
    )
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args(arguments)
    if bool(options.table) == bool(options.clips):
        parser.error("give clips or folders, or a --table")
    if options.transcript is not None and len(options.clips) != 1:
        parser.error("--transcript is for a single clip")
    try:
        jobs = (
            jobs_of_table(options.table)
            if options.table
            else jobs_of(options.clips, options.transcript)
        )
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if not jobs:
        parser.error("no clips there: " + ", ".join(map(str, options.clips or [options.table])))
    schema = feature_schema(default_tokenizer().sha256)
    predictor = Predictor.load(options.checkpoint, schema=schema, device=options.device)
    opened = (
        options.out.open("w", encoding="utf-8", newline="")
        if options.out
        else nullcontext(sys.stdout)
    )
    with opened as target:
        lines = tqdm(
            score(jobs, predictor, options.workers), total=len(jobs), desc="score", disable=None
        )
        as_csv = options.out is not None and options.out.suffix.lower() == ".csv"
        failed = write(lines, target, as_csv=as_csv)
    if failed:
        sys.stderr.write(f"{failed} of {len(jobs)} clips have no score; see their error.\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
