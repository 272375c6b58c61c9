"""Clips a second: what the workers alone reach, and what is left of it behind HTTP and the model.

``python -m benchmarks.throughput``: for one core up to all of this process, as many workers; the
pool by itself and a service with 32 clients in turns, both pinned to these cores. Medians of the
turns, printed as Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks.load import metric, press
from benchmarks.speed_clips import WORDS, speed_clip
from model.predictor import PRECISIONS
from service.extraction import ExtractionPool
from service.metrics import Metrics
from service.settings import MIB, Settings
from service.worker import prepare_worker
from service.worker_jobs import Job
from service.worker_limits import WorkerLimits
from tests.service.running import Service

CLIENTS = 32


def job(clip: bytes, settings: Settings) -> Job:
    """A clip as the engine hands it to the pool."""
    return Job(
        video=clip,
        transcript=WORDS.encode(),
        transcript_suffix=".txt",
        openface=None,
        max_seconds=settings.max_clip_seconds,
        max_pixels=settings.max_clip_pixels,
        max_streams=settings.max_clip_streams,
    )


def pool_alone(clip: bytes, workers: int, clips: int) -> float:
    """Clips a second of the workers without HTTP and model, in a process of their own.

    The process that forks workers lives as long as that which started it, on the cores it had then.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        return apart.submit(_pool_alone, clip, workers, clips).result()


def _pool_alone(clip: bytes, workers: int, clips: int) -> float:
    return asyncio.run(_extract_all(clip, workers, clips))


async def _extract_all(clip: bytes, workers: int, clips: int) -> float:
    settings = Settings(workers=workers, queue_clips=clips)
    pool = ExtractionPool(
        workers=workers,
        limits=WorkerLimits(settings.worker_memory_mib * MIB, settings.worker_cpu_seconds),
        queue_clips=clips,
        metrics=Metrics(),
        prepare=partial(prepare_worker, settings.face_threads),
        preload=("service.worker_warm",),
    )
    pool.start()
    work = job(clip, settings)
    # The first clips wait until their workers are warm.
    await asyncio.gather(*[pool.extract(work) for _ in range(4 * workers)])
    started = time.perf_counter()
    await asyncio.gather(*[pool.extract(work) for _ in range(clips)])
    seconds = time.perf_counter() - started
    await pool.close()
    return clips / seconds


def service_whole(
    folder: Path, clip: bytes, workers: int, clips: int, precision: str
) -> tuple[float, float]:
    """Clips a second over HTTP, and the mean batch."""
    with Service(folder, workers=workers, queue_clips=2 * CLIENTS, precision=precision) as service:
        url = f"http://127.0.0.1:{service.port}"
        service.wait_for("/readyz")
        press(url, [clip] * 2 * workers, workers)
        before = [metric(url, f"dpdf_batch_clips_{part}") for part in ("sum", "count")]
        load = press(url, [clip] * clips, CLIENTS)
        after = [metric(url, f"dpdf_batch_clips_{part}") for part in ("sum", "count")]
        service.terminate()
    if set(load.statuses) != {200}:
        raise RuntimeError(f"not every clip was answered: {load.statuses}")
    scored, calls = (b - a for a, b in zip(before, after, strict=True))
    return load.clips_a_second, scored / calls


def main() -> None:
    """Print a row a number of cores."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--clips", type=int, default=160, help="clips of each measurement")
    parser.add_argument("--turns", type=int, default=3, help="measurements of each")
    parser.add_argument("--seconds", type=int, default=3, help="length of the clip")
    parser.add_argument("--lines", type=int, default=360, help="height of its pictures")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="float32", help="of the model's products"
    )
    options = parser.parse_args()
    clip = speed_clip(options.seconds, options.lines).read_bytes()
    cores = sorted(os.sched_getaffinity(0))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for count in range(1, len(cores) + 1):
            os.sched_setaffinity(0, cores[:count])
            turns = [
                (
                    pool_alone(clip, count, options.clips),
                    *service_whole(
                        Path(name) / f"{count}-{turn}",
                        clip,
                        count,
                        options.clips,
                        options.precision,
                    ),
                )
                for turn in range(options.turns)
            ]
            alone, whole, batch = map(statistics.median, zip(*turns, strict=True))
            rows.append(
                f"| {count} | {alone:.2f} | {whole:.2f} | {whole / alone:.2f} | {batch:.2f} |"
            )
            print(rows[-1], flush=True)
    print(f"\n{options.clips} clips of {options.seconds} s, {options.lines}p; {CLIENTS} clients")
    print(f"{options.precision}; medians of {options.turns} turns\n")
    print("| cores | workers alone (clips/s) | service (clips/s) | of it | mean batch |")
    print("|---|---|---|---|---|", *rows, sep="\n")


if __name__ == "__main__":
    main()
