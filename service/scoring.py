"""From an upload to its score: the workers, an operator's OpenFace, the model, and the cache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from preprocessing.errors import InvalidOpenFaceCsv
from preprocessing.stretches import LONGEST
from service import openface_runner, segments
from service.batching import Scored
from service.engine import Engine
from service.errors import Overloaded, WorkerFailed
from service.reports import Report
from service.samples import sample_of
from service.uploads import TimelineUpload, Upload
from service.worker_jobs import Job, TimelineJob

STAGES = frozenset({"features", "decode", "text", "audio", "face"})
"""Stages that a worker may report on: metric labels are ours, not its."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a clip.

    Attributes:
        report: what was seen of it.
        scored: its score.
        timings_ms: the time of each stage; ``cache`` alone where the bytes are known.
    """

    report: Report
    scored: Scored
    timings_ms: dict[str, float]


async def answer(engine: Engine, upload: Upload) -> Answer:
    """Score an upload, or find the answer that the same bytes were given.

    Raises:
        PreprocessingError, ServiceError: see `ExtractionPool.extract` and `Batcher.score`.
    """
    # An explanation holds the words, and the cache is told to keep none.
    if engine.answers is None or upload.explain:
        return await _computed(engine, upload)
    started = time.perf_counter()
    key = await engine.answers.key(upload)
    if found := engine.answers.get(key):
        engine.metrics.cached_answers.inc()
        return Answer(*found, {"cache": 1000 * (time.perf_counter() - started)})
    computed = await _computed(engine, upload)
    # What failed for the time being may go well the next time.
    if not any(caution.code == openface_runner.FAILED for caution in computed.report.cautions):
        engine.answers.put(key, (computed.report, computed.scored))
    return computed


async def _computed(engine: Engine, upload: Upload) -> Answer:
    """Score an upload.

    With an operator's OpenFace its rows take the place of the built-in tracker's; where it fails,
    the built-in tracker is used and a warning says so.
    """
    batcher, settings = engine.batcher, engine.settings
    started = time.perf_counter()
    table, warning = upload.openface, None
    if table is None and engine.openface is not None:
        table, warning = await engine.openface.table_or_warning(upload.video)
    tabled = 1000 * (time.perf_counter() - started)
    job = Job(
        video=upload.video,
        transcript=upload.transcript,
        transcript_suffix=upload.transcript_suffix,
        openface=table,
        max_seconds=settings.max_clip_seconds,
        max_pixels=settings.max_clip_pixels,
        max_streams=settings.max_clip_streams,
        explain=upload.explain,
        tracks=upload.tracks,
    )
    try:
        report, arrays = await engine.pool.extract(job)
    except InvalidOpenFaceCsv as error:
        if upload.openface is not None:
            raise
        table, warning = None, openface_runner.instead(error)
        report, arrays = await engine.pool.extract(replace(job, openface=None))
    sample = sample_of(arrays, engine.model.schema, longest_seconds=settings.max_clip_seconds)
    if upload.explain and (report.places is None or not report.places.fit(sample)):
        raise WorkerFailed("A worker sent places that do not fit its sample.")
    scored = await batcher.score(sample, explain=upload.explain)
    for stage, milliseconds in report.timings_ms.items():
        if stage in STAGES:
            engine.metrics.stage_seconds.labels(stage).observe(milliseconds / 1000)
    timings = {**report.timings_ms, "batch": scored.wait_ms, "model": scored.model_ms}
    if engine.openface is not None:
        timings["openface"] = tabled
    if table is not None and upload.openface is None:
        report = openface_runner.with_source(report)
    if warning is not None:
        report = openface_runner.with_warning(report, warning)
    return Answer(report, scored, timings)


def timeline(engine: Engine, upload: TimelineUpload) -> AsyncGenerator[segments.Step, None]:
    """Score a long clip stretch by stretch.

    Closing the generator (`contextlib.aclosing`) ends the work; `segments.collected` takes all.

    Yields:
        How far it has come, the segments in the order of time, and at last the ending.

    Raises:
        PreprocessingError, ServiceError: see `ExtractionPool.stream`; also in the middle.
    """
    settings = engine.settings
    engine.timelines.start()
    job = TimelineJob(
        clip=upload.video.fileno(),
        transcript=upload.transcript,
        transcript_suffix=upload.transcript_suffix,
        max_seconds=settings.max_timeline_seconds,
        max_pixels=settings.max_clip_pixels,
        max_streams=settings.max_clip_streams,
    )

    async def score(arrays: bytes) -> Scored:
        sample = sample_of(arrays, engine.model.schema, longest_seconds=LONGEST)
        while True:
            try:
                return await engine.batcher.score(sample)
            except Overloaded as error:
                # Its place is behind what came before it, which is being done.
                await asyncio.sleep(error.retry_after_seconds or 1)

    return segments.scored(engine.timelines.stream(job), score)
