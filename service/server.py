"""uvicorn with a drain: how the process stops without losing an accepted request."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator

import structlog
import uvicorn

from service.app import create_app
from service.engine import Engine
from service.settings import Settings

log = structlog.stdlib.get_logger(__name__)

EXIT_DEVICE_LOST = 70
"""Exit code that makes a supervisor start the process anew."""

KEEP_ALIVE_SECONDS = 75
"""A connection may idle so long: longer than Retry-After, so that who comes back as told does not
send into one that is just being closed."""

SHARE_FOR_WORK = 0.8
"""Share of the grace period in which work may finish; the rest is for saying what did not."""


class Server(uvicorn.Server):
    """uvicorn closes its port as soon as it is asked to stop, and dies of the signal in the end.

    This one keeps the port open while work is in flight, so that probes and new requests are told
    what is going on, and returns normally.

    Attributes:
        exit_code: what the process should end with.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        engine: Engine,
        close: Callable[[], Awaitable[None]],
        grace_seconds: float,
    ) -> None:
        super().__init__(config)
        self.exit_code = 0
        self._engine = engine
        self._close = close
        self._grace_seconds = grace_seconds
        self._drain: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Begin the drain at the first signal, exit at once at the second."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self._on_signal)
        yield
        for number in signals:
            loop.remove_signal_handler(number)

    def device_lost(self) -> None:
        """Answer what can be answered, then end with `EXIT_DEVICE_LOST`."""
        self.exit_code = EXIT_DEVICE_LOST
        self._begin()

    def _on_signal(self) -> None:
        if self._drain is None:
            self._begin()
        else:
            self.force_exit = self.should_exit = True

    def _begin(self) -> None:
        self._engine.draining = True
        if self._drain is None:
            self._drain = asyncio.get_running_loop().create_task(self._finish())

    async def _finish(self) -> None:
        log.info("draining", open_requests=self._engine.open_requests)
        share = SHARE_FOR_WORK * self._grace_seconds
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._engine.idle.wait(), share)
        if self._engine.open_requests:
            log.warning("the grace period is over", open_requests=self._engine.open_requests)
            # Whoever still waits for a worker or the model is told so; jobs go back into the store.
            await self._close()
        self.should_exit = True


def serve(settings: Settings) -> int:
    """Run the service until it is told to stop; returns the exit code."""
    servers: list[Server] = []
    app = create_app(settings, on_fatal=lambda: servers[0].device_lost())
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, int((1 - SHARE_FOR_WORK) * settings.grace_seconds / 2)),
    )
    servers.append(Server(config, app.state.engine, app.state.close, settings.grace_seconds))
    servers[0].run()
    return servers[0].exit_code
