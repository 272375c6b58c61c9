"""The pool of worker processes: one queue in front, one supervisor a worker.

Each worker has a channel of its own and one clip at a time, so that a worker that dies, hangs or
is no longer wanted takes exactly one request with it. (A pool over one shared pipe and lock, as
`concurrent.futures` and pebble have it, can be stopped for good by one process that is killed
while it holds the lock, and it unpickles what its workers send.)
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
from pydantic import ValidationError

from service.errors import (
    ClipTooCostly,
    DecoderCrashed,
    ExtractionFailed,
    Overloaded,
    WorkerFailed,
)
from service.metrics import Metrics
from service.reports import (
    EndingReport,
    Head,
    ProgressReport,
    Report,
    StretchReport,
    input_error,
)
from service.worker_extraction import extract_clip
from service.worker_jobs import Handler, Job, TimelineJob
from service.worker_limits import WorkerLimits
from service.worker_process import WorkerProcess, WorkerStartError, kills_for_memory

log = structlog.stdlib.get_logger(__name__)

LONGEST_PAUSE_SECONDS = 10.0
"""Most time between two attempts to start a worker that cannot start (s)."""

FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)
"""Exit codes of a worker that somebody else ended: no clip can do that to its own decoder."""


MOST_PARTS = 4
"""Parts of a timeline that wait to be taken; the worker waits beyond."""

NO_CLEAR_ANSWER = "The process that decoded this clip gave no clear answer."

Part = tuple[StretchReport | ProgressReport | EndingReport, bytes]
"""A part of a timeline's answer, and the arrays of a stretch as safetensors."""


class _Parts:
    """The parts of one timeline on their way from a worker to who asked for it.

    Attributes:
        begun: whether there was one.
    """

    def __init__(self, answer: asyncio.Future[Any]) -> None:
        self.begun = False
        self._room = asyncio.Semaphore(MOST_PARTS)
        self._queue: asyncio.Queue[Part | None] = asyncio.Queue()
        # However it ends, whoever takes parts learns of it after the last of them.
        answer.add_done_callback(lambda _: self._queue.put_nowait(None))

    async def put(self, head: Head, arrays: bytes) -> None:
        """Hand a part on as soon as there is room."""
        self.begun = True
        await self._room.acquire()
        if head.part is not None:
            self._queue.put_nowait((head.part, arrays))

    async def take(self) -> Part | None:
        """The next part; None after the last."""
        part = await self._queue.get()
        self._room.release()
        return part


@dataclass(slots=True, eq=False)
class _Entry:
    job: Job | TimelineJob
    answer: asyncio.Future[tuple[Head, bytes]]
    parts: _Parts | None = None
    queued: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    tried_again: bool = False


class ExtractionPool:
    """Workers that turn uploads into reports and samples.

    Args:
        workers: number of processes.
        limits: what each may use.
        queue_clips: most clips that wait; more are refused.
        metrics: counts restarts and times the wait.
        prepare: what a worker does once before it is ready.
        handler: what a worker does with a job (another one in tests of the pool itself).
        preload: modules that the fork server imports before it forks the first worker.

    Attributes:
        warm: whether a worker has been ready; clips may wait while it is replaced.
        failure: why the last attempt to start a worker failed; None after a success.
        unconfined: what the kernel lacks of the workers' sandbox; None before the first is ready.
    """

    def __init__(
        self,
        *,
        workers: int,
        limits: WorkerLimits,
        queue_clips: int,
        metrics: Metrics,
        prepare: Callable[[], None] | None = None,
        handler: Handler = extract_clip,
        preload: tuple[str, ...] = (),
    ) -> None:
        self.size = workers
        self.warm = False
        self.failure: str | None = None
        self.unconfined: list[str] | None = None
        self._limits = limits
        self._queue_clips = queue_clips
        self._metrics = metrics
        self._handler = handler
        self._prepare = prepare
        self._entries: deque[_Entry] = deque()
        self._arrival = asyncio.Event()
        self._workers: set[WorkerProcess] = set()
        self._idle = 0
        self._seconds_a_clip = 1.0
        self._supervisors: list[asyncio.Task[None]] = []
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))

    @property
    def ready(self) -> int:
        """Workers that are alive and warm."""
        return len(self._workers)

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers that are alive and warm."""
        return [worker.pid for worker in self._workers]

    @property
    def busy(self) -> int:
        """Workers that have a clip."""
        return len(self._workers) - self._idle

    @property
    def waiting(self) -> int:
        """Clips in the queue, not counting those in a worker."""
        return len(self._entries)

    @property
    def full(self) -> bool:
        """Whether another clip would be refused now."""
        return len(self._entries) >= self._queue_clips + self._idle

    @property
    def seconds_waiting(self) -> float:
        """About how long a clip that comes now would wait for a worker (s)."""
        return self._seconds_a_clip * len(self._entries) / self.size

    def overloaded(self) -> Overloaded:
        """The refusal of one more clip, with the time by which the queue should have room."""
        seconds = self.seconds_waiting + self._seconds_a_clip / self.size
        return Overloaded(
            f"All {self.size} workers are busy and {len(self._entries)} clips wait; "
            "try again later.",
            retry_after_seconds=max(1, math.ceil(seconds)),
        )

    def start(self) -> None:
        """Start the workers in the background, once; `ready` tells how many are warm."""
        if self._supervisors:
            return
        self._supervisors = [asyncio.create_task(self._supervise()) for _ in range(self.size)]

    async def close(self) -> None:
        """End all workers; what they still hold is answered with `WorkerFailed`."""
        for supervisor in self._supervisors:
            supervisor.cancel()
        await asyncio.gather(*self._supervisors, return_exceptions=True)
        for entry in self._entries:
            _fail(entry, WorkerFailed("The service stopped before this clip's turn came."))
        self._entries.clear()

    async def extract(self, job: Job) -> tuple[Report, bytes]:
        """Run one clip through a worker; cancelling this call frees the worker or the place.

        Returns:
            The report, and the sample's arrays as safetensors (not yet validated).

        Raises:
            Overloaded: the queue is full.
            PreprocessingError: the input is at fault.
            ClipTooCostly: the worker's memory or CPU limit was reached.
            DecoderCrashed: the worker crashed on this clip.
            WorkerFailed: the worker was killed, and so was the one that took the clip after it.
            ExtractionFailed: a bug in preprocessing.
        """
        entry = self._queued(_Entry(job, asyncio.get_running_loop().create_future()))
        try:
            head, arrays = await entry.answer
        finally:
            if entry in self._entries:
                self._entries.remove(entry)
        if head.report is None:
            raise WorkerFailed(NO_CLEAR_ANSWER)
        return head.report, arrays

    async def stream(self, job: TimelineJob) -> AsyncGenerator[Part, None]:
        """Run a timeline through a worker, which waits where nobody takes what it has.

        Closing the generator frees the worker or the place.

        Yields:
            Stretches with their arrays (not yet validated) and progress, and at last the ending.

        Raises:
            Overloaded, PreprocessingError, ClipTooCostly, WorkerFailed, ExtractionFailed: as
                `extract` says, also after some parts.
        """
        answer = asyncio.get_running_loop().create_future()
        parts = _Parts(answer)
        entry = self._queued(_Entry(job, answer, parts))
        try:
            while (part := await parts.take()) is not None:
                yield part
            head, arrays = await answer
            if head.ending is None:
                raise WorkerFailed(NO_CLEAR_ANSWER)
            yield head.ending, arrays
        finally:
            if not answer.cancel() and not answer.cancelled():
                # Told to nobody where the generator was closed meanwhile; then it is not missed.
                answer.exception()
            if entry in self._entries:
                self._entries.remove(entry)

    def _queued(self, entry: _Entry) -> _Entry:
        if self.full:
            raise self.overloaded()
        self._entries.append(entry)
        self._arrival.set()
        return entry

    async def _supervise(self) -> None:
        """Keep one worker running for as long as the pool lives."""
        pause, failures = 0.1, 0
        while True:
            try:
                worker = await WorkerProcess.start(
                    self._context, self._handler, self._prepare, self._limits
                )
            except WorkerStartError as error:
                failures += 1
                # Of a pool that has worked, one start that fails is chance, such as a kill from
                # outside; clips wait for the next.
                if failures > 1 or not self.warm:
                    self.failure = str(error)
                log.warning("a worker cannot start", reason=str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            pause, failures = 0.1, 0
            self.failure = None
            self.warm = True
            self._note_confinement(worker.unconfined)
            self._workers.add(worker)
            try:
                reason = await self._employ(worker)
            finally:
                self._workers.discard(worker)
                exit_code = await worker.kill()
            self._metrics.worker_restarts.labels(reason).inc()
            log.warning("a worker is replaced", reason=reason, exit_code=exit_code)

    def _note_confinement(self, unconfined: list[str]) -> None:
        """Say it when workers are not as confined as they should be, once and when it changes."""
        if unconfined and unconfined != self.unconfined:
            log.warning("workers are not fully confined", missing=unconfined)
        self.unconfined = unconfined

    async def _employ(self, worker: WorkerProcess) -> str:
        """Give clips to a worker until it has to be replaced; returns why."""
        while True:
            entry = await self._next_for(worker)
            if entry is None:
                return "died"
            started = time.perf_counter()
            entry.waited = started - entry.queued
            self._metrics.stage_seconds.labels("wait_for_worker").observe(entry.waited)
            reason = await self._run(worker, entry)
            if reason is not None:
                return reason
            spent = time.perf_counter() - started
            self._seconds_a_clip += 0.1 * (spent - self._seconds_a_clip)

    async def _next_for(self, worker: WorkerProcess) -> _Entry | None:
        """The next clip somebody still waits for; None if the idle worker dies first."""
        taking = asyncio.create_task(self._take())
        dying = asyncio.create_task(worker.died.wait())
        self._idle += 1
        try:
            await asyncio.wait({taking, dying}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if taking.done() and not taking.cancelled():
                # Taken in the moment of closing: it is answered with those that wait.
                self._entries.appendleft(taking.result())
            raise
        finally:
            self._idle -= 1
            taking.cancel()
            dying.cancel()
        if not taking.done() or taking.cancelled():
            return None
        entry = taking.result()
        if worker.died.is_set():
            self._entries.appendleft(entry)
            self._arrival.set()
            return None
        return entry

    async def _take(self) -> _Entry:
        while True:
            while self._entries:
                entry = self._entries.popleft()
                if not entry.answer.done():
                    return entry
            self._arrival.clear()
            await self._arrival.wait()

    async def _run(self, worker: WorkerProcess, entry: _Entry) -> str | None:
        """One clip through one worker; returns why the worker must be replaced, if it must."""
        put = None if entry.parts is None else entry.parts.put
        exchange = asyncio.create_task(worker.exchange(entry.job, put))
        either: set[asyncio.Future[Any]] = {exchange, entry.answer}
        short_of_memory = kills_for_memory()
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if entry.answer.done():
                return "abandoned"
            head, arrays = exchange.result()
        except asyncio.CancelledError:
            _fail(entry, WorkerFailed("The service stopped while it worked on this clip."))
            raise
        except (asyncio.IncompleteReadError, ConnectionError):
            spared = kills_for_memory() == short_of_memory
            return self._bury(entry, await worker.closed(), spared=spared)
        except (ValidationError, ValueError) as error:
            log.warning("a worker sent what no worker sends", error=str(error))
            _fail(entry, WorkerFailed(NO_CLEAR_ANSWER))
            return "bad_answer"
        finally:
            exchange.cancel()
        return _settle(entry, head, arrays)

    def _bury(self, entry: _Entry, exit_code: int | None, *, spared: bool) -> str:
        """Answer for the clip of a worker that died, or give it to another; returns of what.

        A crash is the clip's doing: it must not get a second worker. A clip whose worker was killed
        from outside gets one, as extraction changes nothing, unless the kernel has killed for want
        of memory meanwhile (not `spared`): the clip may have been the reason. Nor does a timeline
        of which parts were given out.
        """
        if exit_code == -signal.SIGXCPU:
            seconds = self._limits.cpu_seconds
            _fail(entry, ClipTooCostly(f"Decoding took more than {seconds} s of CPU time."))
            return "cpu_limit"
        if exit_code not in FROM_OUTSIDE:
            _fail(
                entry,
                DecoderCrashed("This clip makes the decoder crash. Export or record it again."),
            )
            return "crashed"
        begun = entry.parts is not None and entry.parts.begun
        if spared and not begun and not entry.tried_again and not entry.answer.done():
            entry.tried_again = True
            self._entries.appendleft(entry)
            self._arrival.set()
        else:
            _fail(
                entry,
                WorkerFailed("The process that decoded this clip died.", retry_after_seconds=1),
            )
        return "died"


def _settle(entry: _Entry, head: Head, arrays: bytes) -> str | None:
    if entry.parts is None and head.report is not None:
        timings = {"queue": 1000 * entry.waited, **head.report.timings_ms}
        report = head.report.model_copy(update={"timings_ms": timings})
        entry.answer.set_result((head.model_copy(update={"report": report}), arrays))
        return None
    if entry.parts is not None and head.ending is not None:
        entry.answer.set_result((head, arrays))
        return None
    fault = head.fault
    if fault is None:
        _fail(entry, WorkerFailed(NO_CLEAR_ANSWER))
        return "bad_answer"
    if fault.kind == "input":
        _fail(entry, input_error(fault))
        return None
    if fault.kind == "memory":
        _fail(entry, ClipTooCostly("Decoding needs more memory than a worker may use."))
        # Its heap is full of what was being decoded.
        return "memory_limit"
    error = ExtractionFailed("Preprocessing failed on this clip; this is a bug of the service.")
    error.add_note(fault.message)
    _fail(entry, error)
    return None


def _fail(entry: _Entry, error: Exception) -> None:
    if not entry.answer.done():
        entry.answer.set_exception(error)
