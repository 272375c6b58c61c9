"""The uploads of jobs in the store, piece by piece, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from io import BytesIO
from itertools import count
from typing import BinaryIO

from sqlalchemy import Connection, Engine, delete, insert, select, tuple_

from service.job_records import OPEN
from service.job_tables import JOBS, PARTS
from service.uploads import JobUpload

SMALL_PARTS = ("transcript", "openface", "explain", "tracks")
"""All of an upload but the clip."""

PIECE_BYTES = 1024 * 1024
"""Uploads are kept in pieces of this size (bytes)."""


def write(connection: Connection, job_id: str, upload: JobUpload) -> None:
    """Store the pieces of an upload, within the transaction that accepts its job."""
    parts = {
        "transcript": upload.transcript,
        "openface": upload.openface or b"",
        **dict.fromkeys(upload.wishes, b"true"),
    }
    files = {"video": upload.video, **{name: BytesIO(part) for name, part in parts.items()}}
    for name, file in files.items():
        for number, content in enumerate(pieces_of(file)):
            connection.execute(
                insert(PARTS).values(job_id=job_id, name=name, number=number, content=content)
            )


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of a file from its beginning, `PIECE_BYTES` at a time."""
    file.seek(0)
    return iter(partial(file.read, PIECE_BYTES), b"")


def read(engine: Engine, job_id: str, video: BinaryIO) -> JobUpload | None:
    """Read an upload back, its clip into a file; None if its job is not running any more."""
    for piece in _stored(engine, job_id, "video"):
        video.write(piece)
    video.flush()
    small = {name: b"".join(_stored(engine, job_id, name)) for name in SMALL_PARTS}
    # Asked last: as long as the job runs nobody deletes its pieces.
    with engine.begin() as connection:
        suffix: str | None = connection.scalar(
            select(JOBS.c.transcript_suffix).where(JOBS.c.id == job_id, JOBS.c.state == "running")
        )
    if suffix is None:
        return None
    return JobUpload(
        video=video,
        transcript=small["transcript"],
        transcript_suffix=suffix,
        openface=small["openface"] or None,
        explain=bool(small["explain"]),
        tracks=bool(small["tracks"]),
    )


def _stored(engine: Engine, job_id: str, name: str) -> Iterator[bytes]:
    for number in count():
        with engine.begin() as connection:
            content: bytes | None = connection.scalar(
                select(PARTS.c.content).where(
                    PARTS.c.job_id == job_id, PARTS.c.name == name, PARTS.c.number == number
                )
            )
        if content is None:
            return
        yield content


def drop(engine: Engine) -> None:
    """Delete the uploads of all jobs that need them no more.

    Piece by piece, because a deletion needs as much room on the disk as what is deleted, and
    others wait for the store meanwhile.
    """
    needed = select(JOBS.c.id).where(JOBS.c.state.in_(OPEN))
    key = (PARTS.c.job_id, PARTS.c.name, PARTS.c.number)
    while True:
        with engine.begin() as connection:
            found = connection.execute(
                select(*key).where(PARTS.c.job_id.not_in(needed)).limit(1)
            ).one_or_none()
            if found is None:
                return
            connection.execute(delete(PARTS).where(tuple_(*key) == tuple(found)))
