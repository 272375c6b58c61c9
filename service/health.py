"""Probes, metrics and self-description: cheap, open, and never waiting for a model."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, HTTPException, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service import schemas
from service.engine import Engine
from service.openapi import MODEL_PATH, NOT_FOUND
from service.predict import model_info

if TYPE_CHECKING:
    from model.inputs import FeatureSchema


Responses = dict[int | str, dict[str, Any]]


def service_version() -> str:
    """Version of the installed package, or of the source tree where none is installed."""
    try:
        return version("dpdf-lq-service")
    except PackageNotFoundError:
        return SOURCE_VERSION


SOURCE_VERSION = "0.1.0"
"""Version of this source tree; a test holds it to pyproject.toml."""


def health_router(engine: Engine) -> APIRouter:
    """All routes but `/predict`."""
    router = APIRouter(tags=["health"])
    not_ready: Responses = {
        503: {"model": schemas.Health, "description": "Not ready; the body says why."}
    }

    @router.get("/livez", summary="Is the event loop alive?")
    async def livez() -> schemas.Health:
        """Answer as long as the process can answer at all; touches no model."""
        return schemas.Health(status="alive")

    @router.get("/readyz", summary="Can a clip be answered now?", responses=not_ready)
    async def readyz(response: Response) -> schemas.Health:
        """200 if weights are loaded and warm, workers live and nothing shuts down; else 503."""
        health = _readiness(engine)
        response.status_code = 200 if health.status == "ready" else 503
        return health

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Counters and histograms in Prometheus' text format."""
        return Response(engine.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    @router.get("/info", summary="Model, features and limits")
    async def info() -> schemas.Info:
        """What is being served, and what is admitted."""
        return _info(engine)

    @router.get("/v2/health/live", summary="Open Inference Protocol: live")
    async def live() -> schemas.Live:
        """The same as `/livez`."""
        return schemas.Live(live=True)

    @router.get(
        "/v2/health/ready",
        summary="Open Inference Protocol: ready",
        responses={503: {"model": schemas.Ready, "description": "Not ready."}},
    )
    async def ready(response: Response) -> schemas.Ready:
        """The same as `/readyz`."""
        is_ready = not engine.reasons()
        response.status_code = 200 if is_ready else 503
        return schemas.Ready(ready=is_ready)

    @router.get(
        MODEL_PATH,
        summary="Open Inference Protocol: model metadata",
        responses={404: NOT_FOUND},
    )
    async def model(name: str) -> schemas.ModelMetadata:
        """Inputs and outputs of the model; 404 for any name but that of the one served."""
        return _metadata(engine, name)

    return router


def _readiness(engine: Engine) -> schemas.Health:
    reasons = engine.reasons()
    if not reasons:
        return schemas.Health(status="ready")
    if engine.draining:
        return schemas.Health(status="draining", reasons=reasons)
    return schemas.Health(status="loading" if engine.loading else "not_ready", reasons=reasons)


def _info(engine: Engine) -> schemas.Info:
    settings, predictor = engine.settings, engine.predictor
    return schemas.Info(
        service_version=service_version(),
        status=_readiness(engine).status,
        device=str(predictor.device) if predictor else None,
        workers=engine.pool.size,
        needs_key=bool(settings.keys),
        worker_sandbox=None
        if engine.pool.unconfined is None
        else schemas.Sandbox(mode=settings.worker_sandbox, missing=engine.pool.unconfined),
        model=model_info(predictor) if predictor else None,
        features=_features(predictor.schema) if predictor else None,
        limits=schemas.Limits(
            max_upload_bytes=settings.max_upload_bytes,
            max_transcript_bytes=settings.max_transcript_bytes,
            max_clip_seconds=settings.max_clip_seconds,
            max_clip_pixels=settings.max_clip_pixels,
            max_clip_streams=settings.max_clip_streams,
            deadline_seconds=settings.deadline_seconds,
            queue_clips=settings.queue_clips,
            max_timeline_upload_bytes=settings.max_timeline_upload_bytes,
            max_timeline_seconds=settings.max_timeline_seconds,
            timeline_deadline_seconds=settings.timeline_deadline_seconds,
            queue_timelines=settings.queue_timelines,
        ),
    )


def _features(schema: FeatureSchema) -> schemas.FeatureInfo:
    return schemas.FeatureInfo(
        name=schema.name,
        fingerprint=schema.fingerprint,
        max_tokens=schema.max_tokens,
        steps_per_second=schema.steps_per_second,
        audio_columns=list(schema.audio_columns),
        video_columns=list(schema.video_columns),
    )


def _metadata(engine: Engine, name: str) -> schemas.ModelMetadata:
    predictor = engine.predictor
    if predictor is None or predictor.identity.name != name:
        raise HTTPException(404, f"No model of the name {name[:100]!r} is loaded; see /info.")
    schema = predictor.schema
    audio, video = len(schema.audio_columns), len(schema.video_columns)
    tensor = schemas.TensorMetadata
    return schemas.ModelMetadata(
        name=name,
        versions=[predictor.identity.version],
        platform="pytorch",
        inputs=[
            tensor(name="input_ids", datatype="INT64", shape=[-1, -1]),
            tensor(name="audio", datatype="FP32", shape=[-1, -1, audio]),
            tensor(name="video", datatype="FP32", shape=[-1, -1, video]),
        ],
        outputs=[
            tensor(name="score", datatype="FP32", shape=[-1]),
            tensor(name="gate", datatype="FP32", shape=[-1, 2]),
            tensor(name="query_channel_gates", datatype="FP32", shape=[-1, -1, 3]),
        ],
    )
