"""Limits on request bodies, enforced while they stream in and before anything parses them."""

from __future__ import annotations

import asyncio
import contextlib
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Overloaded, UploadTooLarge, UploadTooSlow
from service.metrics import Metrics

LINGER_SECONDS = 5.0
"""After a refusal, how long the rest of the body is read and dropped (s): most clients read the
answer only after they have sent everything, and would see a broken connection instead."""


class BodyLimits:
    """ASGI middleware that counts body bytes, with and without a Content-Length.

    Raises into the application, which answers with a problem document:
        UploadTooLarge: more bytes than `most_bytes`, announced or received.
        Overloaded: the bodies of all open requests would hold more than `most_held_bytes`.
        UploadTooSlow: the body is not complete after `seconds`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        most_bytes: int,
        most_held_bytes: int,
        seconds: float,
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._most_held_bytes = most_held_bytes
        self._seconds = seconds
        self._metrics = metrics
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        until = time.monotonic() + self._seconds
        held = 0
        complete = False

        async def counted() -> Message:
            nonlocal held, complete
            if complete:
                return await receive()
            # uvicorn has refused a Content-Length that is no number.
            if int(announced) > self._most_bytes:
                raise self._too_large()
            try:
                message = await asyncio.wait_for(receive(), until - time.monotonic())
            except TimeoutError as error:
                raise UploadTooSlow(
                    f"The request body was not complete after {self._seconds:g} s."
                ) from error
            if message["type"] == "http.request":
                complete = not message.get("more_body", False)
                size = len(message.get("body", b""))
                held += size
                self._held += size
                self._metrics.held_bytes.set(self._held)
                self._check(held)
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
            self._held -= held
            self._metrics.held_bytes.set(self._held)

    def _check(self, size: int) -> None:
        if size > self._most_bytes:
            raise self._too_large()
        if self._held > self._most_held_bytes:
            raise Overloaded(
                "The uploads being worked on fill the memory set aside for them; try again later.",
                retry_after_seconds=1,
            )

    def _too_large(self) -> UploadTooLarge:
        return UploadTooLarge(f"The request body is larger than {self._most_bytes} bytes.")


async def _drop_rest(receive: Receive) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
