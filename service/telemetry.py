"""Logs that carry the request id in every line, and the middleware that gives it out."""

from __future__ import annotations

import logging
import re
import sys
import time
import uuid
from contextvars import ContextVar
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import EventDict

from service.metrics import Metrics
from service.settings import Settings

HEADER = "X-Request-ID"
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_request_id: ContextVar[str] = ContextVar("request_id", default="")

log = structlog.stdlib.get_logger("service.access")


def request_id() -> str:
    """Id of the request being served in this task; empty outside of a request."""
    return _request_id.get()


def bind_request_id(identity: str) -> None:
    """From here on this task works, and logs, for that request."""
    _request_id.set(identity)
    structlog.contextvars.bind_contextvars(request_id=identity)


def configure_logging(settings: Settings) -> None:
    """Send every logger, uvicorn's too, through structlog to stderr in one format."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if settings.log_format == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The default shows every local variable: transcripts, uploads and keys.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            # uvicorn repeats its message with terminal colours in an extra of its own.
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_colour,
                *last,
            ],
        )
    )
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    for name in ("httpx", "httpcore"):
        # They log whole addresses and headers, in which clients may have put their secrets.
        logging.getLogger(name).setLevel(logging.WARNING)


def _without_colour(_: Any, __: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)
    return event


class Telemetry:
    """Outermost ASGI middleware: request id in and out, one log line and the metrics a request.

    An id that the client sends is taken over if it is made of letters, digits, ``.``, ``_`` and
    ``-`` and no longer than 128; any other is replaced, so that nothing can be smuggled into logs.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        identity = given if _ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex
        bind_request_id(identity)
        started = time.perf_counter()
        # What a client that leaves before any answer is counted as.
        status = 499

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = identity
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        code = scope.get("problem_code")
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        if code is not None:
            self._metrics.rejected.labels(code).inc()
        # Probes come every few seconds for ever: only their failures are news.
        quiet = method in {"GET", "HEAD", "OPTIONS"} and status < 400
        (log.debug if quiet else log.info)(
            "request",
            method=method,
            route=route,
            status=status,
            code=code,
            milliseconds=round(1000 * seconds, 1),
        )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
