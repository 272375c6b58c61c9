"""The application, assembled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from preprocessing.errors import PreprocessingError
from service import problems
from service.access import Access
from service.bodies import BodyLimit, BodyLimits
from service.callbacks import Callbacks
from service.engine import Engine
from service.errors import ServiceError
from service.health import health_router, service_version
from service.job_kinds import job_kinds
from service.job_runner import JobRunner
from service.job_store import JobStore
from service.jobs import JOBS_PATH, jobs_router
from service.metrics import Metrics
from service.openapi import openapi_of
from service.pages import add_page
from service.predict import predict_router
from service.settings import Settings
from service.telemetry import Telemetry
from service.timeline import TIMELINE_PATH, timeline_router

DESCRIPTION = """
Sentiment of a clip of a person speaking, from -3 (very negative) to 3 (very positive), by
DPDF-LQ: text, voice and face through a global and a local path, joined by a gate.

Every error is an RFC 9457 problem document with a stable `code`.
"""


def create_app(settings: Settings, *, on_fatal: Callable[[], None] = lambda: None) -> FastAPI:
    """Assemble the service; nothing is loaded before the app's lifespan begins.

    Args:
        settings: see `Settings`.
        on_fatal: called when the process should end and be started anew.

    Returns:
        The app; its `state.engine` is the `Engine`, its `state.close` ends all work.
    """
    metrics = Metrics()
    engine = Engine(settings, metrics, on_fatal=on_fatal)
    store = JobStore(
        url=settings.job_store.get_secret_value() if settings.job_store else None,
        directory=settings.job_directory,
        most_jobs=settings.job_queue,
        most_bytes=settings.job_store_bytes,
        keep_seconds=settings.job_keep_seconds,
        lease_seconds=settings.job_lease_seconds,
    )
    callbacks = Callbacks(settings)
    runner = JobRunner(engine, store, job_kinds(engine), callbacks)

    async def close() -> None:
        # First the jobs: their ends need the store, and what has no end goes back into it.
        await runner.close()
        await engine.close()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        runner.start()
        yield
        await close()
        store.close()

    # FastAPI's own documentation pages load their scripts from a CDN; these bring them along.
    app = FastAPIOffline(
        title="DPDF-LQ sentiment service",
        description=DESCRIPTION,
        version=service_version(),
        lifespan=lifespan,
    )
    app.state.engine = engine
    app.state.close = close
    access = Access(settings)
    app.include_router(predict_router(engine, access))
    app.include_router(timeline_router(engine, access))
    app.include_router(jobs_router(engine, access, store, runner, callbacks))
    app.include_router(health_router(engine))
    add_page(app)
    for kind in (
        ServiceError,
        PreprocessingError,
        ClientDisconnect,
        RequestValidationError,
        HTTPException,
    ):
        app.add_exception_handler(kind, problems.answer)
    # A job may be a timeline; of which kind it is stands somewhere in its body.
    for_long_clips = BodyLimit(
        max(settings.max_upload_bytes, settings.max_timeline_upload_bytes),
        settings.max_timeline_held_bytes,
        settings.timeline_upload_seconds,
    )
    app.add_middleware(
        BodyLimits,
        usual=BodyLimit(
            settings.max_upload_bytes, settings.max_held_bytes, settings.upload_timeout_seconds
        ),
        of_path={TIMELINE_PATH: for_long_clips, JOBS_PATH: for_long_clips},
        metrics=metrics,
    )
    app.add_middleware(problems.AnswerUnexpected)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID"],
            expose_headers=["Location", "X-Request-ID", "Retry-After"],
        )
    app.add_middleware(Telemetry, metrics=metrics)
    document = openapi_of(app, with_keys=bool(settings.keys))
    app.openapi = lambda: document  # type: ignore[method-assign]
    return app
