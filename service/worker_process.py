"""The server's side of one worker process: start, exchange, watch, kill."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from service import wire
from service.reports import Head
from service.worker import serve
from service.worker_jobs import Handler, Job, TimelineJob
from service.worker_limits import WorkerLimits

HEAD_LIMIT = 1024 * 1024
"""Largest JSON head that is read from a worker (bytes)."""

HEADS_LIMIT = 16 * 1024 * 1024
"""Most bytes of heads that one job is answered with; half an hour of captions takes about 2 MB."""

ARRAYS_LIMIT = 16 * 1024 * 1024
"""Largest sample that is read from a worker (bytes); 50 s of clip are about 100 KB."""

LAST_SECONDS = 1.0
"""Longest time between the end of a worker's channel and its own (s)."""

START_SECONDS = 180.0
"""Longest time for a worker to get warm (s): numba compiles on the first start on a machine."""


_STARTERS = ThreadPoolExecutor(thread_name_prefix="start-worker")
"""Threads that wait for the fork server. Not the event loop's own, which waits for its threads
when it closes: the fork server may be importing for a long time yet."""


def kills_for_memory() -> int:
    """Processes that this machine's kernel has killed for want of memory, containers included."""
    found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


class WorkerStartError(RuntimeError):
    """A worker did not get ready."""


class WorkerProcess:
    """A worker that is ready, and the server's end of its channel.

    Attributes:
        pid: its process id.
        unconfined: what the kernel lacks of its sandbox; empty if all is in force.
        died: set as soon as the process has ended.
    """

    def __init__(
        self,
        process: ForkServerProcess,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        files: socket.socket,
    ) -> None:
        self.died = asyncio.Event()
        self.pid: int = process.ident or 0
        self.unconfined: list[str] = []
        self._process = process
        self._reader = reader
        self._writer = writer
        self._files = files
        self._sentinel = process.sentinel
        asyncio.get_running_loop().add_reader(self._sentinel, self._on_death)

    @classmethod
    async def start(
        cls,
        context: ForkServerContext,
        handler: Handler,
        prepare: Callable[[], None] | None,
        limits: WorkerLimits,
    ) -> WorkerProcess:
        """Fork a worker and wait until it is warm.

        Raises:
            WorkerStartError: it died or was not ready in time.
        """
        ours, theirs = socket.socketpair()
        our_files, their_files = socket.socketpair()
        process = context.Process(
            target=serve,
            args=(theirs, their_files, handler, prepare, limits),
            name="worker",
            daemon=True,
        )
        try:
            await asyncio.get_running_loop().run_in_executor(
                _STARTERS, _start, process, (theirs, their_files)
            )
        except BaseException as error:
            # A process that is forked after all finds its channel closed, and ends.
            ours.close()
            our_files.close()
            if isinstance(error, (OSError, EOFError)):
                raise WorkerStartError(f"the fork server does not answer: {error!r}") from error
            raise
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        worker = cls(process, reader, writer, our_files)
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = json.loads(await wire.receive_async(reader, limit=HEAD_LIMIT))
            worker.unconfined = ready["unconfined"]
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            code = await worker.kill()
            raise WorkerStartError(
                f"a worker ended with exit code {code} before it was ready; its own message is on "
                "standard error"
            ) from error
        except TimeoutError as error:
            await worker.kill()
            raise WorkerStartError(f"a worker was not ready after {START_SECONDS:g} s") from error
        except asyncio.CancelledError:
            await worker.kill()
            raise
        return worker

    async def exchange(
        self,
        job: Job | TimelineJob,
        take: Callable[[Head, bytes], Awaitable[None]] | None = None,
    ) -> tuple[Head, bytes]:
        """Send a job, wait for its last answer.

        Args:
            job: to do.
            take: is given the answers before the last; the worker waits until it has returned.

        Raises:
            asyncio.IncompleteReadError, ConnectionError: the worker died.
            ValueError: an answer is out of form.
        """
        if isinstance(job, TimelineJob):
            wire.send_file(self._files, job.clip)
        await wire.send_async(self._writer, job.frames())
        left = HEADS_LIMIT
        while True:
            line = await wire.receive_async(self._reader, limit=min(HEAD_LIMIT, left))
            left -= len(line)
            head = Head.model_validate_json(line)
            arrays = await wire.receive_async(self._reader, limit=ARRAYS_LIMIT)
            if head.part is None:
                return head, arrays
            if take is None:
                raise ValueError("a clip was answered as a timeline")
            await take(head, arrays)

    async def closed(self) -> int | None:
        """Exit code of a worker that closed its channel; None if it had to be killed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.died.wait(), LAST_SECONDS)
        dead = self.died.is_set()
        code = await self.kill()
        return code if dead else None

    async def kill(self) -> int | None:
        """End the process at once, if it has not ended, and reap it; returns its exit code."""
        asyncio.get_running_loop().remove_reader(self._sentinel)
        if self._process.is_alive():
            self._process.kill()
        self._writer.close()
        self._files.close()
        await asyncio.to_thread(self._process.join, 5.0)
        self.died.set()
        return self._process.exitcode

    def _on_death(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sentinel)
        self.died.set()


def _start(process: ForkServerProcess, theirs: tuple[socket.socket, ...]) -> None:
    try:
        process.start()
    finally:
        for end in theirs:
            end.close()
