"""How long a request is worked on: until its deadline, and as long as somebody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from service.errors import DeadlineExceeded

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Run work until it is done or the time (s) is over.

    Raises:
        DeadlineExceeded: it was not done in time, and is cancelled.
    """
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise DeadlineExceeded(f"There was no answer within {seconds:g} s.") from error


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Run work until it is done or the client is gone.

    Raises:
        ClientDisconnect: the client is gone, and the work is cancelled.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
