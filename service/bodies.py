"""Limits on request bodies, enforced while they stream in and before anything parses them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Overloaded, UploadTooLarge, UploadTooSlow
from service.metrics import Metrics

LINGER_SECONDS = 5.0
"""After a refusal, how long the rest of the body is read and dropped (s): most clients read the
answer only after they have sent everything, and would see a broken connection instead."""


@dataclass(slots=True, eq=False)
class BodyLimit:
    """What the bodies of one kind of request may be.

    Attributes:
        most_bytes: of one body.
        most_held_bytes: of all open requests of the kind together.
        seconds: until a body is complete (s).
        held: bytes of all open requests of the kind, now.
    """

    most_bytes: int
    most_held_bytes: int
    seconds: float
    held: int = 0


class BodyLimits:
    """ASGI middleware that counts body bytes, with and without a Content-Length.

    Args:
        app: the application.
        usual: the limit of all requests that have none of their own.
        of_path: limits of their own, by path.
        metrics: shows the bytes held.

    Raises into the application, which answers with a problem document:
        UploadTooLarge: more bytes than `most_bytes`, announced or received.
        Overloaded: the bodies of all open requests would hold more than `most_held_bytes`.
        UploadTooSlow: the body is not complete after `seconds`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        usual: BodyLimit,
        of_path: Mapping[str, BodyLimit],
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._usual = usual
        self._of_path = of_path
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        limit = self._of_path.get(scope["path"], self._usual)
        until = time.monotonic() + limit.seconds
        held = 0
        complete = False

        async def counted() -> Message:
            nonlocal held, complete
            if complete:
                return await receive()
            # uvicorn has refused a Content-Length that is no number.
            if int(announced) > limit.most_bytes:
                raise _too_large(limit)
            try:
                message = await asyncio.wait_for(receive(), until - time.monotonic())
            except TimeoutError as error:
                raise UploadTooSlow(
                    f"The request body was not complete after {limit.seconds:g} s."
                ) from error
            if message["type"] == "http.request":
                complete = not message.get("more_body", False)
                size = len(message.get("body", b""))
                held += size
                self._count(limit, size)
                _check(limit, held)
            return message

        async def lingering(message: Message) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not last or complete:
                await send(message)
                return
            await send({**message, "more_body": True})
            await _drop_rest(receive)
            await send({"type": "http.response.body", "body": b""})

        has_body = announced != "0" or "transfer-encoding" in Headers(scope=scope)
        try:
            await self._app(scope, counted, lingering if has_body else send)
        finally:
            self._count(limit, -held)

    def _count(self, limit: BodyLimit, size: int) -> None:
        limit.held += size
        self._metrics.held_bytes.inc(size)


def _check(limit: BodyLimit, size: int) -> None:
    if size > limit.most_bytes:
        raise _too_large(limit)
    if limit.held > limit.most_held_bytes:
        raise Overloaded(
            "The uploads being worked on fill the memory set aside for them; try again later.",
            retry_after_seconds=1,
        )


def _too_large(limit: BodyLimit) -> UploadTooLarge:
    return UploadTooLarge(f"The request body is larger than {limit.most_bytes} bytes.")


async def _drop_rest(receive: Receive) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
