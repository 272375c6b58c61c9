"""Score clips without a server: ``python -m score CLIP_OR_FOLDER ...``.

    python -m score clip.mp4 --transcript "I really liked it"
    python -m score recordings/ --out scores.csv
    python -m score --table clips.csv --out scores.jsonl

The words of a clip are in a file of the same name beside it (.txt, .vtt or .srt), in the table
(columns ``file`` and ``text``; files are looked for beside the table), or given on the command
line for a single clip. A clip that cannot be scored has an ``error`` in its line and makes the exit
code 1; the others are scored all the same. Lines are written as they come: Ctrl-C loses at most the
clips in work, and the same command with ``--resume`` goes on behind the last line.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from model.checkpoint import DEFAULT_CHECKPOINT
from model.predictor import Predictor
from preprocessing.features import default_tokenizer
from preprocessing.schema import feature_schema
from score.jobs import Job, extract_job, jobs_of, jobs_of_table
from score.lines import Line, is_csv, write, written

BATCH = 16
"""Clips in one call of the model."""

STOPPED = 128 + signal.SIGINT
"""Exit code after Ctrl-C, as shells have it."""


def score(jobs: Sequence[Job], predictor: Predictor, workers: int) -> Iterator[Line]:
    """A line a clip, in their order.

    Args:
        jobs: the clips.
        predictor: the weights.
        workers: processes that extract features.
    """
    # A fresh interpreter a worker: the tracker's threads do not survive a fork.
    # They leave Ctrl-C to this process, which ends them.
    with ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as pool:
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
    parser.add_argument(
        "--resume", action="store_true", help="leave out clips that --out has a line of, and append"
    )
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args(arguments)
    if bool(options.table) == bool(options.clips):
        parser.error("give clips or folders, or a --table")
    if options.transcript is not None and len(options.clips) != 1:
        parser.error("--transcript is for a single clip")
    if options.resume and options.out is None:
        parser.error("--resume goes on with a file: name it with --out")
    if not options.resume and options.out is not None and options.out.exists():
        parser.error(f"{options.out} exists: --resume goes on behind it, or name another --out")
    try:
        jobs = (
            jobs_of_table(options.table)
            if options.table
            else jobs_of(options.clips, options.transcript)
        )
        begun = options.resume and options.out.exists()
        done = written(options.out) if begun else set()
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if not jobs:
        parser.error("no clips there: " + ", ".join(map(str, options.clips or [options.table])))
    jobs = [job for job in jobs if str(job.clip) not in done]
    if not jobs:
        sys.stderr.write(f"{options.out} has a line of every clip already.\n")
        return 0
    schema = feature_schema(default_tokenizer().sha256)
    predictor = Predictor.load(options.checkpoint, schema=schema, device=options.device)
    opened = (
        options.out.open("a", encoding="utf-8", newline="")
        if options.out
        else nullcontext(sys.stdout)
    )
    with opened as target:
        lines = tqdm(
            score(jobs, predictor, options.workers), total=len(jobs), desc="score", disable=None
        )
        new = target.tell() == 0 if options.out else True
        try:
            failed = write(lines, target, as_csv=is_csv(options.out), header=new)
        except KeyboardInterrupt:
            lines.close()
            kept = f": --resume goes on behind {options.out}" if options.out else ""
            sys.stderr.write(f"\nStopped{kept}.\n")
            return STOPPED
    if failed:
        sys.stderr.write(f"{failed} of {len(jobs)} clips have no score; see their error.\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
