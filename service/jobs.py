"""``/jobs``: the same work as the plain routes, for clients that do not want to wait."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from hashlib import sha256

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service import schemas
from service.access import Access
from service.callbacks import Callbacks
from service.engine import Engine
from service.errors import InvalidField, JobStoreUnavailable, Overloaded, UnknownJob
from service.form import NAME_LENGTH
from service.job_kinds import DEFAULT_KIND, Kind
from service.job_records import FINISHED, JobRecord, NewJob
from service.job_runner import JobRunner
from service.job_store import JobStore
from service.job_uploads import pieces_of
from service.openapi import job_responses
from service.openapi_forms import IDEMPOTENCY_KEY, JOB_REQUEST
from service.telemetry import request_id
from service.uploads import JobUpload, file_in_memory, read_job_upload

JOBS_PATH = "/jobs"

FIELD_BYTES = 2048
"""Longest `kind` or `callback_url`."""

ID_BYTES = 16
"""Random bytes of a job's id."""

WATCH_SECONDS = 0.5
"""How often the progress of a watched job is looked at (s): another replica may work on it."""

KEY_HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def jobs_router(
    engine: Engine, access: Access, store: JobStore, runner: JobRunner, callbacks: Callbacks
) -> APIRouter:
    """The routes of `/jobs`."""
    router = APIRouter(tags=["jobs"])

    async def found(request: Request, job_id: str) -> JobRecord:
        """The job, for the one whose it is; such requests are not counted against a key."""
        job = await store.call(store.get, job_id, access.identify(request))
        if job is None:
            raise UnknownJob("There is no such job; it may have expired, or be another key's.")
        return job

    the_job = Depends(found)

    @router.post(
        JOBS_PATH,
        status_code=202,
        response_model=schemas.Job,
        responses=job_responses("post"),
        openapi_extra={"requestBody": JOB_REQUEST, "parameters": [IDEMPOTENCY_KEY]},
        summary="Accept a clip for later",
    )
    async def submit(request: Request) -> Response:
        """Store a clip and answer at once; the result is fetched from the address in `Location`.

        A job that was accepted survives a restart of the service.
        """
        owner = access.check(request)
        key = _idempotency_key(request)
        with engine.accepted_for_later(), _retry_after(runner), file_in_memory() as video:
            if key is None:
                # Before the body is read. A repeated request is answered even if there is no room.
                await store.call(store.check_room)
            upload, fields = await read_job_upload(
                request,
                video,
                max_transcript_bytes=engine.settings.max_transcript_bytes,
                fields={"kind": FIELD_BYTES, "callback_url": FIELD_BYTES},
            )
            kind = _kind(fields, runner.kinds)
            kind.check(upload)
            if (callback_url := fields.get("callback_url")) is not None:
                callbacks.check(callback_url)
            new = NewJob(
                id=secrets.token_urlsafe(ID_BYTES),
                kind=kind.name,
                owner=owner,
                request_id=request_id(),
                idempotency_key=key,
                fingerprint=await asyncio.to_thread(fingerprint, upload, fields),
                callback_url=callback_url,
            )
            job = await store.call(store.add, new, upload)
        runner.accepted(kind.name)
        return _answer(job, status=202, headers={"Location": f"/jobs/{job.id}"})

    @router.get(
        "/jobs/{job_id}",
        response_model=schemas.Job,
        responses=job_responses("get"),
        summary="How far a job is, and how it ended",
    )
    async def get(job: JobRecord = the_job) -> Response:
        """State, progress, and the result or the problem of a finished job."""
        return _answer(job)

    @router.delete(
        "/jobs/{job_id}",
        response_model=schemas.Job,
        responses=job_responses("delete"),
        summary="Cancel a job, or forget it",
    )
    async def cancel(job: JobRecord = the_job) -> Response:
        """Cancel a job that is queued or running (200), forget a finished one (204)."""
        cancelled = await store.call(store.cancel_or_forget, job)
        runner.cancelled(job.id)
        return Response(status_code=204) if cancelled is None else _answer(cancelled)

    @router.get(
        "/jobs/{job_id}/events",
        response_class=EventSourceResponse,
        responses=job_responses("events"),
        summary="Progress as server-sent events",
    )
    async def events(
        job: JobRecord = the_job,
    ) -> AsyncIterator[ServerSentEvent]:
        """One event `progress` at each change, then one named `done`, `failed` or `cancelled`.

        The data of each is the job, as `GET /jobs/{job_id}` shows it. The stream ends after the
        last one, and when the service shuts down.
        """
        latest: JobRecord | None = job
        shown = None
        while latest is not None:
            if (latest.state, latest.progress) != shown:
                shown = (latest.state, latest.progress)
                name = latest.state if latest.state in FINISHED else "progress"
                yield ServerSentEvent(event=name, data=latest.document())
            if latest.state in FINISHED or engine.draining:
                return
            await asyncio.sleep(WATCH_SECONDS)
            with contextlib.suppress(JobStoreUnavailable):
                latest = await store.call(store.get, job.id, job.owner)

    return router


@contextlib.contextmanager
def _retry_after(runner: JobRunner) -> Iterator[None]:
    """Let the refusal of a full queue say when to try again."""
    try:
        yield
    except Overloaded as error:
        error.retry_after_seconds = error.retry_after_seconds or runner.retry_after_seconds
        raise


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get(KEY_HEADER)
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidField(
            f"{KEY_HEADER} is 1 to 255 visible ASCII characters, e.g. a UUID.", param=KEY_HEADER
        )
    return key


def _kind(fields: Mapping[str, str], kinds: Mapping[str, Kind]) -> Kind:
    kind = fields.get("kind", DEFAULT_KIND)
    if kind not in kinds:
        raise InvalidField(
            f"There is no kind of job {kind[:NAME_LENGTH]!r}; the kinds are {', '.join(kinds)}.",
            param="kind",
        )
    return kinds[kind]


def fingerprint(upload: JobUpload, fields: Mapping[str, str]) -> str:
    """sha256 (hex) of all that a request asks for; another one for any other request."""
    clip = sha256()
    for piece in pieces_of(upload.video):
        clip.update(piece)
    content = [
        ("video", clip.digest()),
        ("transcript", upload.transcript),
        ("transcript_suffix", upload.transcript_suffix.encode()),
        ("openface", upload.openface or b""),
        *((name, b"true") for name in upload.wishes),
        *((name, value.encode()) for name, value in sorted(fields.items())),
    ]
    digest = sha256()
    for name, value in content:
        digest.update(f"{name} {len(value)} ".encode())
        digest.update(value)
    return digest.hexdigest()


def _answer(
    job: JobRecord, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return JSONResponse(job.document(), status, headers)
