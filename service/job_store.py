"""Jobs in a database: queue, record and results in one table.

One table is queue and record alike, so that accepting a job is one commit and there is no second
store to disagree with it. The embedded store is SQLite; a URL names a PostgreSQL that several
replicas share. Everything is text, numbers and bytes: nothing that is read can run.

A job is taken by a conditional update that counts its `attempt` up and gives a lease. Whoever has
the lease renews it; what a dead process held is taken again when the lease is over. Every later
write names the attempt, so that of two processes that believe to hold a job one alone gives its
result.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from service import job_uploads
from service.errors import IdempotencyKeyReused, JobStoreFull, JobStoreUnavailable, Overloaded
from service.job_records import OPEN, JobRecord, NewJob, State
from service.job_tables import CONNECTIONS, JOBS, METADATA, connect
from service.uploads import JobUpload

RESERVE_BYTES = 8 * job_uploads.PIECE_BYTES
"""Room on the disk that uploads leave free (bytes): ends and deletions need some."""

P = ParamSpec("P")
T = TypeVar("T")


_RECORD = [JOBS.c[name] for name in JobRecord.__dataclass_fields__]


class JobStore:
    """The methods block; `call` runs one in a thread.

    Args:
        url: of a shared store, e.g. ``postgresql://user:password@host/database``; None = embedded.
        directory: where the embedded store keeps its file.
        most_jobs: jobs that may be queued or running.
        most_bytes: of all their uploads together.
        keep_seconds: how long a finished job is kept.
        lease_seconds: after how long without a sign of life a job is taken again.
    """

    def __init__(
        self,
        *,
        url: str | None,
        directory: Path,
        most_jobs: int,
        most_bytes: int,
        keep_seconds: float,
        lease_seconds: float,
    ) -> None:
        self.embedded = url is None
        self._directory = directory
        self._engine = connect(url, directory)
        self._most_jobs = most_jobs
        self._most_bytes = most_bytes
        self._keep_seconds = keep_seconds
        self._lease_seconds = lease_seconds
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="job-store")

    async def call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method of the store without blocking the event loop.

        Raises:
            JobStoreFull: there is no room on the disk.
            JobStoreUnavailable: the database cannot be reached, or fails.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, lambda: method(*args, **kwargs))
        except (SQLAlchemyError, OSError) as error:
            raise _failure(error) from error

    def close(self) -> None:
        """Close all connections; calls that are under way end first."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._engine.dispose()

    def create(self) -> None:
        """Make the tables, unless they are there."""
        if self.embedded:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        METADATA.create_all(self._engine)

    def check_room(self, upload_bytes: int = 0) -> None:
        """Whether one more job would be accepted.

        Raises:
            Overloaded: too many jobs, or uploads, wait.
            JobStoreFull: there is no room on the disk.
        """
        with self._engine.begin() as connection:
            self._check_room(connection, upload_bytes)

    def _check_room(self, connection: Connection, upload_bytes: int) -> None:
        jobs, held = connection.execute(
            select(func.count(), func.coalesce(func.sum(JOBS.c.upload_bytes), 0)).where(
                JOBS.c.state.in_(OPEN)
            )
        ).one()
        if jobs >= self._most_jobs or held + upload_bytes > self._most_bytes:
            raise Overloaded(f"{jobs} jobs are queued or running, and there is no room for more.")
        if self.embedded:
            free = shutil.disk_usage(self._directory).free
            if free < upload_bytes + RESERVE_BYTES:
                raise JobStoreFull("The disk that keeps the jobs is full.")

    def add(self, job: NewJob, upload: JobUpload) -> JobRecord:
        """Accept a job: when this returns, it is on the disk.

        Returns:
            It, or that which its idempotency key named before.

        Raises:
            IdempotencyKeyReused: the key named another body before.
            Overloaded, JobStoreFull: see `check_room`.
        """
        try:
            with self._engine.begin() as connection:
                if (known := self._known(connection, job)) is not None:
                    return known
                size = upload.video.seek(0, SEEK_END)
                self._check_room(connection, size)
                connection.execute(insert(JOBS).values(**_row(job, upload, size)))
                job_uploads.write(connection, job.id, upload)
                return _record(connection, JOBS.c.id == job.id)
        except (IntegrityError, Overloaded):
            # Another replica was given the same key at the same time, and may have taken the last
            # place with it.
            with self._engine.begin() as connection:
                if (known := self._known(connection, job)) is not None:
                    return known
            raise

    def _known(self, connection: Connection, job: NewJob) -> JobRecord | None:
        if job.idempotency_key is None:
            return None
        same = (JOBS.c.owner == job.owner) & (JOBS.c.idempotency_key == job.idempotency_key)
        # What has expired is forgotten, also before it is swept.
        connection.execute(delete(JOBS).where(same & _expired()))
        fingerprint = connection.scalar(select(JOBS.c.fingerprint).where(same))
        if fingerprint is None:
            return None
        if fingerprint != job.fingerprint:
            raise IdempotencyKeyReused(
                "This Idempotency-Key came before with another body; use a new key for it.",
                param="Idempotency-Key",
            )
        return _record(connection, same)

    def get(self, identity: str, owner: str) -> JobRecord | None:
        """A job, if this owner has it."""
        mine = (JOBS.c.id == identity) & (JOBS.c.owner == owner) & _current()
        with self._engine.begin() as connection:
            row = connection.execute(select(*_RECORD).where(mine)).mappings().one_or_none()
        return None if row is None else JobRecord(**row)

    def cancel_or_forget(self, job: JobRecord) -> JobRecord | None:
        """Cancel a job that is not finished, forget one that is.

        Returns:
            The cancelled job, or None if it is forgotten.
        """
        this = JOBS.c.id == job.id
        with self._engine.begin() as connection:
            cancelled = connection.execute(
                update(JOBS).where(this & JOBS.c.state.in_(OPEN)).values(**self._end("cancelled"))
            ).rowcount
            if not cancelled:
                connection.execute(delete(JOBS).where(this))
                return None
            found = _record(connection, this)
        job_uploads.drop(self._engine)
        return found

    def claim(self, kind: str) -> JobRecord | None:
        """Take the oldest job of a kind that waits, or that a vanished process held."""
        now = time.time()
        lost = (JOBS.c.state == "running") & (JOBS.c.lease_until < now)
        with self._engine.begin() as connection:
            found = connection.execute(
                select(JOBS.c.id, JOBS.c.attempt, JOBS.c.state, JOBS.c.crashes)
                .where(JOBS.c.kind == kind, or_(JOBS.c.state == "queued", lost))
                .order_by(JOBS.c.created)
                .limit(1)
                # Replicas do not wait for each other's choice. SQLite, with one writer, ignores it.
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if found is None:
                return None
            crashes = found.crashes + (found.state == "running")
            taken = connection.execute(
                update(JOBS)
                .where(JOBS.c.id == found.id, JOBS.c.attempt == found.attempt)
                .values(
                    state="running",
                    attempt=found.attempt + 1,
                    crashes=crashes,
                    started=now,
                    progress=0.0,
                    lease_until=now + self._lease_seconds,
                )
            ).rowcount
            return _record(connection, JOBS.c.id == found.id) if taken else None

    def upload(self, job: JobRecord, video: BinaryIO) -> JobUpload | None:
        """What a job is about, its clip written to a file; None if it was cancelled meanwhile."""
        return job_uploads.read(self._engine, job.id, video)

    def renew(self, job: JobRecord, progress: float) -> bool:
        """Renew the lease; False if the job is this holder's no more."""
        values = {"lease_until": time.time() + self._lease_seconds, "progress": progress}
        return self._change(job, values)

    def release(self, job: JobRecord, *, crashed: bool = False) -> bool:
        """Put a job back, for whoever comes next."""
        crashes = job.crashes + crashed
        values = {"state": "queued", "progress": 0.0, "lease_until": None, "crashes": crashes}
        return self._change(job, values)

    def finish(
        self, job: JobRecord, *, result: str | None = None, problem: str | None = None
    ) -> bool:
        """Keep a job's end and drop its upload; False if it is this holder's no more."""
        values = self._end("done" if problem is None else "failed")
        values |= {"result": result, "problem": problem}
        if problem is None:
            values["progress"] = 1.0
        if job.callback_url is not None:
            values["callback_due"] = time.time()
        if not self._change(job, values):
            return False
        job_uploads.drop(self._engine)
        return True

    def _end(self, state: State) -> dict[str, Any]:
        now = time.time()
        return {
            "state": state,
            "finished": now,
            "expires": now + self._keep_seconds,
            "lease_until": None,
        }

    def _change(self, job: JobRecord, values: dict[str, Any]) -> bool:
        with self._engine.begin() as connection:
            return connection.execute(_held(job).values(**values)).rowcount > 0

    def take_callback(self, pauses: tuple[float, ...]) -> JobRecord | None:
        """A finished job whose end is to be told now.

        Args:
            pauses: after each try, how long until the next one (s); none after the last.
        """
        now = time.time()
        with self._engine.begin() as connection:
            found = connection.execute(
                select(JOBS.c.id, JOBS.c.callback_tries)
                .where(JOBS.c.callback_due <= now)
                .order_by(JOBS.c.callback_due)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if found is None:
                return None
            tries = found.callback_tries
            due = now + pauses[tries] if tries < len(pauses) else None
            connection.execute(
                update(JOBS)
                .where(JOBS.c.id == found.id)
                .values(callback_tries=tries + 1, callback_due=due)
            )
            return _record(connection, JOBS.c.id == found.id)

    def settle_callback(self, job: JobRecord) -> None:
        """It was received: no more tries."""
        with self._engine.begin() as connection:
            connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(callback_due=None))

    def sweep(self) -> dict[str, int]:
        """Forget what has expired.

        Returns:
            How many jobs are queued and running.
        """
        with self._engine.begin() as connection:
            connection.execute(delete(JOBS).where(_expired()))
            rows = connection.execute(
                select(JOBS.c.state, func.count())
                .where(JOBS.c.state.in_(OPEN))
                .group_by(JOBS.c.state)
            ).all()
        job_uploads.drop(self._engine)
        counts: dict[str, int] = dict.fromkeys(OPEN, 0)
        counts.update((state, count) for state, count in rows)
        return counts


def _failure(error: Exception) -> JobStoreFull | JobStoreUnavailable:
    cause = getattr(error, "orig", error)
    if (
        getattr(cause, "sqlite_errorname", None) == "SQLITE_FULL"
        or getattr(cause, "sqlstate", None) == "53100"
    ):
        return JobStoreFull("The disk that keeps the jobs is full.")
    return JobStoreUnavailable("The store of the jobs cannot be used now.", retry_after_seconds=5)


def _row(job: NewJob, upload: JobUpload, size: int) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "owner": job.owner,
        "request_id": job.request_id,
        "idempotency_key": job.idempotency_key,
        "fingerprint": job.fingerprint,
        "transcript_suffix": upload.transcript_suffix,
        "upload_bytes": size,
        "state": "queued",
        "progress": 0.0,
        "attempt": 0,
        "crashes": 0,
        "created": time.time(),
        "callback_url": job.callback_url,
        "callback_tries": 0,
    }


def _held(job: JobRecord) -> Update:
    return update(JOBS).where(
        JOBS.c.id == job.id, JOBS.c.attempt == job.attempt, JOBS.c.state == "running"
    )


def _expired() -> ColumnElement[bool]:
    return JOBS.c.expires < time.time()


def _current() -> ColumnElement[bool]:
    return or_(JOBS.c.expires.is_(None), JOBS.c.expires >= time.time())


def _record(connection: Connection, condition: ColumnElement[bool]) -> JobRecord:
    return JobRecord(**connection.execute(select(*_RECORD).where(condition)).mappings().one())
