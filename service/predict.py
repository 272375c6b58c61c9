"""``POST /predict``: the road from upload to answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request

from model.intervals import COVERAGE
from service import schemas
from service.access import Access
from service.engine import Engine
from service.explaining import explanation_of, tracks_of
from service.openapi import predict_responses
from service.openapi_forms import PREDICT_REQUEST
from service.reports import Report
from service.scoring import Answer, answer
from service.telemetry import request_id
from service.uploads import read_upload
from service.waiting import while_connected, within

if TYPE_CHECKING:
    from model.predictor import Prediction, Predictor


def predict_router(engine: Engine, access: Access) -> APIRouter:
    """The one route that costs something."""
    router = APIRouter()

    @router.post(
        "/predict",
        response_model=schemas.PredictResponse,
        responses=predict_responses(),
        openapi_extra={"requestBody": PREDICT_REQUEST},
        summary="Sentiment of a clip",
        tags=["prediction"],
    )
    async def predict(request: Request) -> schemas.PredictResponse:
        """Score one clip of a person speaking, with the words that are spoken.

        A missing face, sound or picture is a normal answer with a warning. The score is computed
        from text, voice and face together; see `warnings` and `seen` for what it rests on.
        """
        started = time.perf_counter()
        access.check(request)
        # A shutdown waits from here on, also for bodies that are on their way.
        with engine.accepted():
            upload = await read_upload(
                request, max_transcript_bytes=engine.settings.max_transcript_bytes
            )
            received = time.perf_counter()
            found = await within(
                engine.settings.deadline_seconds, while_connected(request, answer(engine, upload))
            )
            timings = {"upload": 1000 * (received - started), **found.timings_ms}
            timings["total"] = 1000 * (time.perf_counter() - started)
            return predict_response(engine, found, timings)

    return router


def predict_response(
    engine: Engine, found: Answer, timings: dict[str, float]
) -> schemas.PredictResponse:
    """What `service.scoring.answer` returns, in the shape of a response."""
    report, prediction = found.report, found.scored.prediction
    score = schemas.clip_score(prediction.raw_score)
    return schemas.PredictResponse(
        score=score,
        raw_score=prediction.raw_score,
        label=schemas.label_of(score),
        polarity=schemas.polarity_of(score),
        interval=interval_of(prediction),
        gate=gate_of(prediction),
        query_channel_gates=[
            schemas.ChannelGates(text=text, audio=audio, video=video)
            for text, audio, video in prediction.layer_gates
        ],
        seen=seen_of(report),
        warnings=[schemas.Caution(code=c.code, message=c.message) for c in report.cautions],
        timings_ms={stage: round(milliseconds, 1) for stage, milliseconds in timings.items()},
        model=model_info(engine.model),
        explanation=explanation_of(found.scored.explanation, report.places),
        tracks=tracks_of(report.tracks),
        request_id=request_id(),
    )


def gate_of(prediction: Prediction) -> schemas.Gate:
    """The weights of the two paths."""
    return schemas.Gate.model_validate(
        {"global": prediction.global_weight, "local": prediction.local_weight}
    )


def interval_of(prediction: Prediction) -> schemas.Interval | None:
    """The interval, where the weights are calibrated."""
    if prediction.interval is None:
        return None
    low, high = prediction.interval
    return schemas.Interval(low=low, high=high, coverage=COVERAGE)


def seen_of(report: Report) -> schemas.Seen:
    """What was seen of each modality."""
    text, audio, face = report.text, report.audio, report.face
    return schemas.Seen(
        text=schemas.SeenText(
            present=text is not None,
            tokens=text.tokens if text else 0,
            truncated=text is not None and text.truncated,
        ),
        audio=schemas.SeenAudio(
            present=audio is not None and not audio.silent,
            seconds=audio.seconds if audio else 0.0,
            level_dbfs=audio.level_dbfs if audio else None,
        ),
        video=schemas.SeenVideo(
            present=face is not None and face.frames_with_face > 0,
            frames=face.frames if face else 0,
            face_share=face.frames_with_face / face.frames if face and face.frames else 0.0,
            source=face.source if face else None,
            faces=face.faces if face else 0,
            chosen_by=face.chosen_by if face else None,
        ),
    )


def model_info(predictor: Predictor) -> schemas.ModelInfo:
    """Which weights answer."""
    identity = predictor.identity
    return schemas.ModelInfo(
        name=identity.name,
        version=identity.version,
        encoder=identity.encoder,
        checkpoint_sha256=identity.checkpoint_sha256,
        feature_schema=predictor.schema.fingerprint,
    )
