"""The two tables of the jobs, and the databases that may hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.pool import ConnectionPoolEntry

CONNECTIONS = 4
"""Connections to a shared store, of each replica."""

CONNECT_SECONDS = 5
"""How long a connection to a shared store may take (s)."""

METADATA = MetaData()

JOBS = Table(
    "dpdf_jobs",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("idempotency_key", String(255)),
    Column("fingerprint", String(64), nullable=False),
    Column("transcript_suffix", String(8), nullable=False),
    Column("upload_bytes", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("progress", Double, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("lease_until", Double),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("finished", Double),
    Column("expires", Double),
    Column("result", Text),
    Column("problem", Text),
    Column("callback_url", Text),
    Column("callback_tries", Integer, nullable=False),
    Column("callback_due", Double),
    UniqueConstraint("owner", "idempotency_key"),
    Index("dpdf_jobs_queue", "state", "created"),
)

PARTS = Table(
    "dpdf_job_parts",
    METADATA,
    Column("job_id", String(64), primary_key=True),
    Column("name", String(16), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)


def connect(url: str | None, directory: Path) -> Engine:
    """A database; nothing is opened yet.

    Args:
        url: of a shared PostgreSQL; None = SQLite, embedded.
        directory: where SQLite keeps its file.
    """
    if url is not None:
        # psycopg 3, whatever dialect SQLAlchemy would take by itself.
        scheme, _, rest = url.partition("://")
        return create_engine(
            f"{scheme.split('+')[0]}+psycopg://{rest}",
            pool_size=CONNECTIONS,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                # A server that vanished is noticed, not waited for.
                "tcp_user_timeout": 1000 * CONNECT_SECONDS,
            },
            hide_parameters=True,
        )
    engine = create_engine(f"sqlite:///{directory / 'jobs.sqlite'}", hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: ConnectionPoolEntry) -> None:
    # Transactions begin where we say so, not where the driver guesses.
    connection.isolation_level = None
    for pragma in (
        # A file that shrinks again when uploads are deleted; works before the first table only.
        "auto_vacuum = FULL",
        # No second file that keeps what the first one has forgotten.
        "journal_mode = TRUNCATE",
        # An accepted job survives a power cut.
        "synchronous = FULL",
        # A deleted clip is overwritten, not left in free pages.
        "secure_delete = ON",
        "busy_timeout = 10000",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A read that turns into a write could find that another process wrote meanwhile.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
