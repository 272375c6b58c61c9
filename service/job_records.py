"""What is known of a job: when it is accepted, and later."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

State = Literal["queued", "running", "done", "failed", "cancelled"]
FINISHED: tuple[State, ...] = ("done", "failed", "cancelled")
OPEN: tuple[State, ...] = ("queued", "running")


@dataclass(frozen=True, slots=True)
class NewJob:
    """What is known of a job when it is accepted.

    Attributes:
        id: unguessable.
        kind: name of its runner.
        owner: who may see it; see `Access`.
        request_id: of the request that brought it.
        idempotency_key: the client's name for it, or None.
        fingerprint: of all that the request asked for.
        callback_url: who is told of its end, or None.
    """

    id: str
    kind: str
    owner: str
    request_id: str
    idempotency_key: str | None
    fingerprint: str
    callback_url: str | None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as it is stored; times are seconds since 1970.

    Attributes:
        progress: 0 .. 1.
        attempt: how often it has been taken; names the holder of the lease.
        crashes: how often its holder vanished.
        expires: when it is forgotten; None until it is finished.
        result: the answer as JSON, of a job that is done.
        problem: the problem document as JSON, of one that failed.
        callback_tries: how often its end has been told, or tried to.
    """

    id: str
    kind: str
    owner: str
    request_id: str
    state: State
    progress: float
    attempt: int
    crashes: int
    created: float
    started: float | None
    finished: float | None
    expires: float | None
    result: str | None
    problem: str | None
    callback_url: str | None
    callback_tries: int

    def document(self) -> dict[str, Any]:
        """The job as clients see it (`schemas.Job`).

        Result and problem are as they were stored, perhaps by an earlier version of the service.
        """
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "progress": self.progress,
            "created": _time(self.created),
            "started": _time(self.started),
            "finished": _time(self.finished),
            "expires": _time(self.expires),
            "result": None if self.result is None else json.loads(self.result),
            "problem": None if self.problem is None else json.loads(self.problem),
        }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
