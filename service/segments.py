"""A timeline as it comes about: from the parts that a worker sends to scored segments.

Features of at most `BATCH` stretches are held; what is kept to the end is each segment's answer.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from service.batching import Scored
from service.errors import WorkerFailed
from service.extraction import Part
from service.reports import CautionReport, ProgressReport, StretchReport

BATCH: Final = 8
"""Stretches that are scored together: one call of the model, and little delay for others' clips."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch with its score."""

    stretch: StretchReport
    scored: Scored


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a timeline has come.

    Attributes:
        seconds: of the clip that have been analysed.
        total_seconds: at which the last stretch ends, as far as is known.
    """

    seconds: float
    total_seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a timeline, with the warnings that concern all of it."""

    cautions: tuple[CautionReport, ...]


Step = Reached | Segment | Ended
"""What happens to a timeline."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """A whole timeline.

    Attributes:
        segments: at least one, in the order of time; they do not overlap.
        cautions: that concern all of it.
        timings_ms: sums over the segments by stage (ms).
    """

    segments: tuple[Segment, ...]
    cautions: tuple[CautionReport, ...]
    timings_ms: dict[str, float]


async def scored(
    parts: AsyncGenerator[Part, None], score: Callable[[bytes], Awaitable[Scored]]
) -> AsyncGenerator[Step, None]:
    """Score stretches as they come, `BATCH` at a time.

    Args:
        parts: as `ExtractionPool.stream` gives them; closed with this generator.
        score: scores the arrays of a stretch.

    Raises:
        WorkerFailed: the worker does not go forwards in the clip, or found no stretch.
    """
    waiting: list[tuple[StretchReport, bytes]] = []
    reached, count = 0.0, 0
    async with aclosing(parts):
        async for part, arrays in parts:
            if isinstance(part, ProgressReport):
                yield Reached(part.seconds, part.total)
            elif isinstance(part, StretchReport):
                # A few rounding errors of sums of times.
                if not reached - 1e-3 <= part.start <= part.end:
                    raise WorkerFailed("A worker sent stretches out of order.")
                reached, count = part.end, count + 1
                waiting.append((part, arrays))
                yield Reached(part.end, part.total)
                if len(waiting) == BATCH:
                    for segment in await _scored_together(waiting, score):
                        yield segment
                    waiting.clear()
            else:
                if not count:
                    raise WorkerFailed("A worker sent a timeline without a stretch.")
                for segment in await _scored_together(waiting, score):
                    yield segment
                yield Ended(part.cautions)


async def _scored_together(
    stretches: list[tuple[StretchReport, bytes]], score: Callable[[bytes], Awaitable[Scored]]
) -> list[Segment]:
    tasks = [asyncio.ensure_future(score(arrays)) for _, arrays in stretches]
    try:
        results = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return [
        Segment(stretch, result) for (stretch, _), result in zip(stretches, results, strict=True)
    ]


async def collected(
    steps: AsyncGenerator[Step, None], on_progress: Callable[[Reached], None] = lambda _: None
) -> Timeline:
    """Take all steps of a timeline.

    Args:
        steps: as `Engine.timeline` gives them; closed at the end.
        on_progress: called with each step of progress.

    Raises:
        As `Engine.timeline`.
    """
    segments: list[Segment] = []
    cautions: tuple[CautionReport, ...] = ()
    timings: dict[str, float] = defaultdict(float)
    async with aclosing(steps):
        async for step in steps:
            if isinstance(step, Segment):
                segments.append(step)
                for stage, milliseconds in step.stretch.report.timings_ms.items():
                    timings[stage] += milliseconds
                timings["model"] += step.scored.model_ms / step.scored.batch_clips
            elif isinstance(step, Reached):
                on_progress(step)
            else:
                cautions = step.cautions
    return Timeline(tuple(segments), cautions, dict(timings))
