"""What can be done as a job: the work of each plain route, with nobody waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from service import scoring
from service.engine import Engine
from service.errors import UnexpectedField, UnsupportedMedia, UploadTooLarge
from service.extraction import ExtractionPool
from service.predict import predict_response
from service.segments import Reached, collected
from service.timeline import timeline_response
from service.uploads import TIMED_SUFFIXES, TRANSCRIPT_SUFFIXES, JobUpload, TimelineUpload

Progress = Callable[[float], None]
"""Told how much is done, 0 .. 1; cheap, may be called at any rate."""

DEFAULT_KIND = "predict"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job.

    Attributes:
        name: in the field `kind`.
        pool: the workers that it needs.
        suffixes: names that a transcript may have.
        most_bytes: largest clip.
        wishes: whether it takes `openface`, `explain` and `tracks`.
        run: does it; returns what the plain route would answer, and raises what that would answer
            with a problem.
    """

    name: str
    pool: ExtractionPool
    suffixes: tuple[str, ...]
    most_bytes: int
    wishes: bool
    run: Callable[[JobUpload, Progress], Coroutine[Any, Any, BaseModel]]

    def check(self, upload: JobUpload) -> None:
        """Refuse at once what the plain route would refuse by the form alone.

        Raises:
            UploadTooLarge, UnsupportedMedia, UnexpectedField: it would.
        """
        size = upload.video.seek(0, 2)
        if size > self.most_bytes:
            raise UploadTooLarge(f"video is larger than {self.most_bytes} bytes.", param="video")
        if upload.transcript_suffix not in self.suffixes:
            raise UnsupportedMedia(
                f"A transcript that is a {upload.transcript_suffix} file is none for the kind "
                f"{self.name}; it takes {', '.join(self.suffixes)}.",
                param="transcript",
            )
        given = [*upload.wishes, *(["openface"] if upload.openface is not None else [])]
        if given and not self.wishes:
            raise UnexpectedField(f"The kind {self.name} has no field {given[0]}.", param=given[0])


def job_kinds(engine: Engine) -> dict[str, Kind]:
    """Every kind by its name."""
    settings = engine.settings

    async def predict(upload: JobUpload, _: Progress) -> BaseModel:
        # One clip has no parts by which to tell the progress.
        started = time.perf_counter()
        found = await scoring.answer(engine, upload.in_memory())
        total = {"total": 1000 * (time.perf_counter() - started)}
        return predict_response(engine, found, {**found.timings_ms, **total})

    async def timeline(upload: JobUpload, progress: Progress) -> BaseModel:
        def reached(so_far: Reached) -> None:
            if so_far.total_seconds > 0:
                progress(min(1.0, so_far.seconds / so_far.total_seconds))

        started = time.perf_counter()
        timed = TimelineUpload(upload.video, upload.transcript, upload.transcript_suffix)
        found = await collected(scoring.timeline(engine, timed), reached)
        total = {"total": 1000 * (time.perf_counter() - started)}
        return timeline_response(engine, found, {**found.timings_ms, **total})

    kinds = (
        Kind(
            name=DEFAULT_KIND,
            pool=engine.pool,
            suffixes=TRANSCRIPT_SUFFIXES,
            most_bytes=settings.max_upload_bytes,
            wishes=True,
            run=predict,
        ),
        Kind(
            name="timeline",
            pool=engine.timelines,
            suffixes=TIMED_SUFFIXES,
            most_bytes=settings.max_timeline_upload_bytes,
            wishes=False,
            run=timeline,
        ),
    )
    return {kind.name: kind for kind in kinds}
