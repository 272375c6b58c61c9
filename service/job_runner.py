"""Works off the jobs in the store, a few at a time, beside the requests that somebody waits for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping

import structlog

from preprocessing.errors import PreprocessingError
from service.callbacks import PAUSES_SECONDS, Callbacks
from service.engine import Engine
from service.errors import (
    JobAbandoned,
    JobStoreUnavailable,
    ModelFailed,
    NotReady,
    Overloaded,
    ServiceError,
    WorkerFailed,
)
from service.job_kinds import Kind, Progress
from service.job_records import JobRecord
from service.job_store import JobStore
from service.problems import problem
from service.telemetry import bind_request_id
from service.uploads import file_in_memory
from service.waiting import within

log = structlog.stdlib.get_logger(__name__)

POLL_SECONDS = 1.0
"""How often an idle process looks for jobs that other processes accepted (s)."""

SWEEP_SECONDS = 5.0
"""How often expired jobs are forgotten and the others counted (s)."""

PROGRESS_SECONDS = 0.5
"""Least time between two writes of a job's progress (s)."""

MOST_CRASHES = 3
"""A job whose holder vanished as often as this is taken for the cause."""

WORKER_TRIES = 2
"""How often a job is tried whose decoding worker died."""


class JobRunner:
    """Claims, runs, renews, finishes, and lets go at the end.

    Args:
        engine: `draining` stops the claiming; a running job counts as open request of it.
        store: where the jobs are.
        kinds: what to do, by the kind of job.
        callbacks: who is told of a job's end.
    """

    def __init__(
        self, engine: Engine, store: JobStore, kinds: Mapping[str, Kind], callbacks: Callbacks
    ) -> None:
        self._engine = engine
        self._store = store
        self.kinds = kinds
        self._callbacks = callbacks
        self._settings = engine.settings
        self._metrics = engine.metrics
        self._tasks: list[asyncio.Task[None]] = []
        self._arrivals = {name: asyncio.Event() for name in kinds}
        self._news: dict[str, asyncio.Event] = {}
        self._seconds_a_job = 5.0
        self._reachable = True

    def start(self) -> None:
        """Begin, in the background."""
        self._tasks = [asyncio.create_task(self._upkeep()), asyncio.create_task(self._tell())]
        for kind in self.kinds.values():
            for _ in range(self._settings.jobs_at_once):
                self._tasks.append(asyncio.create_task(self._work(kind)))

    async def close(self) -> None:
        """Stop; what is running goes back into the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def accepted(self, kind: str) -> None:
        """There is a new job: do not wait for the next look."""
        self._arrivals[kind].set()

    def cancelled(self, identity: str) -> None:
        """A job was cancelled: if it runs here, see it at once."""
        if identity in self._news:
            self._news[identity].set()

    @property
    def retry_after_seconds(self) -> int:
        """When a full queue should have room for another job (s)."""
        return max(1, round(self._seconds_a_job / self._settings.jobs_at_once))

    async def _upkeep(self) -> None:
        created = False
        while True:
            try:
                if not created:
                    await self._store.call(self._store.create)
                    created = True
                counts = await self._store.call(self._store.sweep)
                for state, count in counts.items():
                    self._metrics.jobs.labels(state).set(count)
                self._note_store(None)
            except ServiceError as error:
                self._note_store(error)
            await asyncio.sleep(SWEEP_SECONDS)

    def _note_store(self, error: ServiceError | None) -> None:
        """Say once that the store is lost, and once that it is back."""
        self._metrics.job_store_up.set(error is None)
        if error is not None and self._reachable:
            log.error("the store of the jobs cannot be used", reason=repr(error.__cause__ or error))
        elif error is None and not self._reachable:
            log.info("the store of the jobs can be used again")
        self._reachable = error is None

    async def _tell(self) -> None:
        """Make the callbacks that are due."""
        while True:
            try:
                job = await self._store.call(self._store.take_callback, PAUSES_SECONDS)
                if job is not None:
                    received = await self._callbacks.tell(job)
                    if received:
                        await self._store.call(self._store.settle_callback, job)
                    self._metrics.callbacks.labels("received" if received else "failed").inc()
                    continue
            except ServiceError:
                pass  # `_upkeep` says so.
            except Exception:
                log.exception("a callback could not be made")
            await asyncio.sleep(POLL_SECONDS)

    async def _work(self, kind: Kind) -> None:
        while True:
            try:
                job = None
                if not self._engine.reasons() and not kind.pool.full:
                    job = await self._claim(kind)
                if job is not None:
                    await self._run(job)
                    continue
            except Exception:
                # Whatever it is, it must not end the work on all other jobs.
                log.exception("a job could not be worked on")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrivals[kind.name].wait(), POLL_SECONDS)
            self._arrivals[kind.name].clear()

    async def _claim(self, kind: Kind) -> JobRecord | None:
        """Take a job; one that is taken while this is cancelled, or too late, is put back."""
        claiming = asyncio.ensure_future(self._store.call(self._store.claim, kind.name))
        try:
            job = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            with contextlib.suppress(ServiceError):
                await self._release(await claiming)
            raise
        except ServiceError:
            return None  # `_upkeep` says so.
        if self._engine.draining:
            await self._release(job)
            return None
        return job

    async def _release(self, job: JobRecord | None, *, crashed: bool = False) -> None:
        if job is not None:
            with contextlib.suppress(ServiceError):
                # If this fails the job is taken again when its lease is over.
                await self._store.call(self._store.release, job, crashed=crashed)

    async def _run(self, job: JobRecord) -> None:
        bind_request_id(job.request_id)
        structlog.contextvars.bind_contextvars(job=job.id)
        started = time.perf_counter()
        log.info("a job begins", kind=job.kind, attempt=job.attempt)
        try:
            with self._engine.occupied():
                await self._hold(job)
        except asyncio.CancelledError:
            await self._release(job)
            log.info("a job goes back into the store")
            raise
        finally:
            spent = time.perf_counter() - started
            self._seconds_a_job += 0.2 * (spent - self._seconds_a_job)
            structlog.contextvars.unbind_contextvars("job", "request_id")

    async def _hold(self, job: JobRecord) -> None:
        """Run a job for as long as it is ours."""
        news = self._news[job.id] = asyncio.Event()
        done = 0.0

        def progress(share: float) -> None:
            nonlocal done
            done = share
            news.set()

        working = asyncio.create_task(self._answer(job, progress))
        holding = asyncio.create_task(self._renew(job, news, lambda: done))
        try:
            await asyncio.wait({working, holding}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                log.info("a job was cancelled, or taken over")
                return
            await self._conclude(job, working)
        finally:
            del self._news[job.id]
            working.cancel()
            holding.cancel()
            await asyncio.gather(working, holding, return_exceptions=True)

    async def _renew(self, job: JobRecord, news: asyncio.Event, done: Callable[[], float]) -> None:
        """Renew the lease; returns when it is lost."""
        seconds = self._settings.job_lease_seconds
        held_until = time.monotonic() + seconds
        while time.monotonic() < held_until:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), seconds / 3)
            news.clear()
            begun = time.monotonic()
            with contextlib.suppress(ServiceError):
                if not await self._store.call(self._store.renew, job, done()):
                    return
                held_until = begun + seconds
            await asyncio.sleep(min(PROGRESS_SECONDS, seconds / 3))

    async def _answer(self, job: JobRecord, progress: Progress) -> str:
        """The job's result as JSON."""
        if job.crashes >= MOST_CRASHES:
            raise JobAbandoned(
                f"The service stopped {job.crashes} times while it worked on this job."
            )
        with file_in_memory() as video:
            upload = await self._store.call(self._store.upload, job, video)
            if upload is None:
                raise asyncio.CancelledError
            run = self.kinds[job.kind].run
            for tries_left in reversed(range(WORKER_TRIES)):
                try:
                    answer = await within(
                        self._settings.job_deadline_seconds, run(upload, progress)
                    )
                    return answer.model_dump_json(by_alias=True)
                except WorkerFailed:
                    if not tries_left or self._engine.draining:
                        raise
        raise RuntimeError("unreachable: the last try returns or raises")

    async def _conclude(self, job: JobRecord, working: asyncio.Task[str]) -> None:
        """Write down how a job ended, or put it back if that says nothing of the job."""
        if working.cancelled():
            return
        error = working.exception()
        if isinstance(error, Overloaded | NotReady | JobStoreUnavailable) or (
            error is not None and self._engine.draining
        ):
            await self._release(job, crashed=isinstance(error, ModelFailed))
            await asyncio.sleep(POLL_SECONDS)
            return
        code = None
        if error is None:
            kept = await self._keep(job, result=working.result())
        elif isinstance(error, Exception):
            if not isinstance(error, ServiceError | PreprocessingError):
                log.error("a job failed unexpectedly", exc_info=error)
            document = problem(error, path=f"/jobs/{job.id}")
            code = document.code
            kept = await self._keep(job, problem=document.model_dump_json())
        else:
            raise error
        if kept:
            state = "done" if error is None else "failed"
            self._metrics.jobs_finished.labels(job.kind, state).inc()
            log.info("a job has ended", kind=job.kind, state=state, code=code)

    async def _keep(
        self, job: JobRecord, *, result: str | None = None, problem: str | None = None
    ) -> bool:
        """Store an end; while the store is away try again, for as long as the lease lasts."""
        until = time.monotonic() + self._settings.job_lease_seconds
        while True:
            try:
                return await self._store.call(
                    self._store.finish, job, result=result, problem=problem
                )
            except ServiceError as error:
                if time.monotonic() > until:
                    log.warning("a job's end could not be stored; it will run again")
                    return False
                self._note_store(error)
                await asyncio.sleep(POLL_SECONDS)
