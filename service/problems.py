"""RFC 9457 problem documents: the single shape of every error answer."""

from __future__ import annotations

import structlog
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Answer, ServiceError, Unauthorised, answer_for
from service.telemetry import request_id

log = structlog.stdlib.get_logger(__name__)

HTTP_METHOD_NOT_ALLOWED = 405
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
HTTP_SERVER_ERROR = 500

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """Why a request was not answered with a score (RFC 9457)."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="URI of the kind of problem: `urn:dpdf:problem:` and the code.")
    title: str = Field(description="The kind of problem in words, the same every time.")
    status: int = Field(description="HTTP status, again.")
    detail: str = Field(description="What was wrong this time and what to do about it.")
    instance: str = Field(description="Path of the request.")
    code: str = Field(description="Stable code, for programs.")
    param: str | None = Field(description="Form field or header at fault, if one is.")
    request_id: str = Field(description="Id of the request, also in `X-Request-ID` and the logs.")


def problem(error: Exception, *, path: str) -> Problem:
    """The document for an exception; never a word of an unexpected error's own message."""
    answer = answer_for(error)
    return Problem(
        type=f"urn:dpdf:problem:{answer.code}",
        title=answer.title,
        status=answer.status,
        detail=answer.detail or _message(error),
        instance=path,
        code=answer.code,
        param=getattr(error, "param", None) or answer.param,
        request_id=request_id(),
    )


def _message(error: Exception) -> str:
    return error.detail if isinstance(error, HTTPException) else str(error)


async def answer(request: Request, error: Exception) -> Response:
    """Exception handler for all of them (Starlette's signature)."""
    document = problem(error, path=request.url.path)
    request.scope["problem_code"] = document.code
    if isinstance(error, ServiceError) and document.status >= HTTP_SERVER_ERROR:
        log.error("the request failed", exc_info=error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if document.status == HTTP_METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request)
    if isinstance(error, ServiceError) and error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, Unauthorised):
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        document.model_dump_json(), document.status, headers=headers, media_type=MEDIA_TYPE
    )


def _allowed(request: Request) -> str:
    """The methods of all routes at this path; Starlette names those of the first alone."""
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]
    return ", ".join(
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes
        )
    )


class AnswerUnexpected:
    """ASGI middleware: whatever no handler has answered becomes a problem document too.

    Starlette's own handler for these stands outside of all middleware, so that its answer would
    carry no request id and be counted nowhere.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3)."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            log.exception("unexpected error")
            response = await answer(Request(scope), error)
            await response(scope, receive, send)


def example(row: Answer, detail: str, instance: str) -> dict[str, object]:
    """An example document for OpenAPI."""
    return Problem(
        type=f"urn:dpdf:problem:{row.code}",
        title=row.title,
        status=row.status,
        detail=row.detail or detail,
        instance=instance,
        code=row.code,
        param=row.param,
        request_id="5f0c2b9e6d9f4a6b8f3e1c2d4a5b6c7d",
    ).model_dump()
