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
from service.bodies import BodyLimits
from service.engine import Engine
from service.errors import ServiceError
from service.health import health_router, service_version
from service.metrics import Metrics
from service.openapi import openapi_of
from service.pages import add_page
from service.predict import predict_router
from service.settings import Settings
from service.telemetry import Telemetry

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
        The app; its `state.engine` is the `Engine`.
    """
    metrics = Metrics()
    engine = Engine(settings, metrics, on_fatal=on_fatal)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        await engine.close()

    # FastAPI's own documentation pages load their scripts from a CDN; these bring them along.
    app = FastAPIOffline(
        title="DPDF-LQ sentiment service",
        description=DESCRIPTION,
        version=service_version(),
        lifespan=lifespan,
    )
    app.state.engine = engine
    app.include_router(predict_router(engine, Access(settings)))
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
    app.add_middleware(
        BodyLimits,
        most_bytes=settings.max_upload_bytes,
        most_held_bytes=settings.max_held_bytes,
        seconds=settings.upload_timeout_seconds,
        metrics=metrics,
    )
    app.add_middleware(problems.AnswerUnexpected)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(Telemetry, metrics=metrics)
    document = openapi_of(app, with_keys=bool(settings.keys))
    app.openapi = lambda: document  # type: ignore[method-assign]
    return app
