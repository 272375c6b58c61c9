"""``POST /timeline``: a long clip with timed words to a score for every stretch of it."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from python_multipart.multipart import parse_options_header
from starlette.responses import Response

from service import schemas, scoring
from service.access import Access
from service.engine import Engine
from service.openapi import timeline_responses
from service.openapi_forms import TIMELINE_REQUEST
from service.picture import picture_of
from service.predict import gate_of, interval_of, model_info, seen_of
from service.segments import Segment, Timeline, collected
from service.telemetry import request_id
from service.uploads import file_in_memory, read_timeline_upload
from service.waiting import while_connected, within

TIMELINE_PATH = "/timeline"

JSON = "application/json"

PICTURES = ("image/svg+xml", "image/png")
"""Content types of a timeline's picture."""


def timeline_router(engine: Engine, access: Access) -> APIRouter:
    """The route for long clips."""
    router = APIRouter()

    @router.post(
        TIMELINE_PATH,
        response_model=schemas.TimelineResponse,
        responses=timeline_responses(),
        openapi_extra={"requestBody": TIMELINE_REQUEST},
        summary="Sentiment along a long clip",
        tags=["prediction"],
    )
    async def timeline(request: Request) -> Response:
        """Score a clip of up to half an hour along its captions.

        Captions shorter than 2 s are joined with a neighbour, those longer than 15 s are cut into
        equal parts. Each stretch is scored from its own words, sound and pictures, as `/predict`
        would score it cut out. Ask for `image/svg+xml` or `image/png` in the header `Accept` to get
        a picture of it instead.
        """
        started = time.perf_counter()
        access.check(request)
        wanted = wanted_type(request.headers.get("accept", "*/*"))
        settings = engine.settings
        with engine.accepted(engine.timelines), file_in_memory() as file:
            upload = await read_timeline_upload(
                request,
                file,
                max_video_bytes=settings.max_timeline_upload_bytes,
                max_transcript_bytes=settings.max_transcript_bytes,
            )
            received = time.perf_counter()
            found = await within(
                settings.timeline_deadline_seconds,
                while_connected(request, collected(scoring.timeline(engine, upload))),
            )
            timings = {"upload": 1000 * (received - started), **found.timings_ms}
            timings["total"] = 1000 * (time.perf_counter() - started)
            answer = timeline_response(engine, found, timings)
            headers = {"Vary": "Accept"}
            if wanted == JSON:
                body = answer.model_dump_json(by_alias=True)
                return Response(body, media_type=JSON, headers=headers)
            return Response(await picture_of(answer, wanted), media_type=wanted, headers=headers)

    return router


def wanted_type(accept: str) -> str:
    """The content type to answer with: a picture's where it is liked better than JSON.

    Args:
        accept: the header (RFC 9110, 12.5.1). What names neither is answered with JSON.
    """
    weights: dict[str, float] = {}
    for item in accept.split(","):
        name, options = parse_options_header(item.strip())
        try:
            weight = float(options.get(b"q", b"1"))
        except ValueError:
            weight = 0.0
        weights[name.decode("latin-1").lower()] = weight

    def liked(kind: str) -> float:
        family = kind.split("/")[0] + "/*"
        return weights.get(kind, weights.get(family, weights.get("*/*", 0.0)))

    # Of several that are liked alike the first.
    return max((JSON, *PICTURES), key=liked)


def timeline_response(
    engine: Engine, found: Timeline, timings: dict[str, float]
) -> schemas.TimelineResponse:
    """The answer for a timeline that is complete.

    Args:
        engine: that made it.
        found: the timeline.
        timings: time by stage (ms).
    """
    segments = [_segment(segment) for segment in found.segments]
    return schemas.TimelineResponse(
        overall=overall_of(segments),
        segments=segments,
        warnings=[schemas.Caution(code=c.code, message=c.message) for c in found.cautions],
        timings_ms={stage: round(milliseconds, 1) for stage, milliseconds in timings.items()},
        model=model_info(engine.model),
        request_id=request_id(),
    )


def _segment(segment: Segment) -> schemas.TimelineSegment:
    stretch, prediction = segment.stretch, segment.scored.prediction
    score = schemas.clip_score(prediction.raw_score)
    return schemas.TimelineSegment(
        start_seconds=round(stretch.start, 3),
        end_seconds=round(stretch.end, 3),
        text=stretch.text,
        score=score,
        raw_score=prediction.raw_score,
        label=schemas.label_of(score),
        polarity=schemas.polarity_of(score),
        interval=interval_of(prediction),
        gate=gate_of(prediction),
        seen=seen_of(stretch.report),
        warnings=[schemas.Caution(code=c.code, message=c.message) for c in stretch.report.cautions],
    )


SHORTEST_WEIGHT = 0.001
"""Length that a segment counts with at least (s): a single picture has none."""


def overall_of(segments: list[schemas.TimelineSegment]) -> schemas.TimelineOverall:
    """The mean of scores, weighted by the segments' length."""
    lengths = [segment.end_seconds - segment.start_seconds for segment in segments]
    weights = [max(length, SHORTEST_WEIGHT) for length in lengths]
    scores = [segment.score for segment in segments]
    total = sum(weight * score for weight, score in zip(weights, scores, strict=True))
    score = schemas.clip_score(total / sum(weights))
    return schemas.TimelineOverall(
        score=score,
        label=schemas.label_of(score),
        polarity=schemas.polarity_of(score),
        formed_by=schemas.FORMED_BY,
        segments=len(segments),
        seconds=round(sum(lengths), 3),
        lowest=min(scores),
        highest=max(scores),
    )
