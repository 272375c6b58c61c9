"""What OpenAPI says beyond the answers' shapes: an example of each, and of every error."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.errors import ANSWERS, HTTP_ANSWERS, Answer
from service.problems import MEDIA_TYPE, Problem, example
from service.schemas import FORMED_BY

PREDICT_EXAMPLE: dict[str, Any] = {
    "score": 1.62,
    "raw_score": 1.62,
    "label": "positive",
    "polarity": "positive",
    "interval": {"low": 0.31, "high": 2.93, "coverage": 0.9},
    "gate": {"global": 0.58, "local": 0.42},
    "query_channel_gates": [
        {"text": 0.41, "audio": 0.3, "video": 0.29},
        {"text": 0.38, "audio": 0.33, "video": 0.29},
        {"text": 0.36, "audio": 0.31, "video": 0.33},
    ],
    "seen": {
        "text": {"present": True, "tokens": 12, "truncated": False},
        "audio": {"present": True, "seconds": 3.1, "level_dbfs": -23.4},
        "video": {
            "present": True,
            "frames": 31,
            "face_share": 0.97,
            "source": "built-in",
            "faces": 2,
            "chosen_by": "size",
        },
    },
    "warnings": [
        {
            "code": "several_faces",
            "message": "Up to 2 faces were seen at once; the largest one was used.",
        }
    ],
    "timings_ms": {
        "upload": 3.2,
        "queue": 1.1,
        "features": 262.4,
        "decode": 148.0,
        "text": 0.6,
        "audio": 61.0,
        "face": 113.0,
        "batch": 0.2,
        "model": 26.0,
        "total": 296.0,
    },
    "model": {
        "name": "dpdf-lq-default",
        "version": "1",
        "encoder": "all-MiniLM-L6-v2",
        "checkpoint_sha256": "0f3a" + "0" * 60,
        "feature_schema": "a1b2c3d4e5f60718",
    },
    "explanation": None,
    "tracks": None,
    "request_id": "5f0c2b9e6d9f4a6b8f3e1c2d4a5b6c7d",
}

TIMELINE_EXAMPLE: dict[str, Any] = {
    "overall": {
        "score": 1.62,
        "label": "positive",
        "polarity": "positive",
        "formed_by": FORMED_BY,
        "segments": 1,
        "seconds": 3.1,
        "lowest": 1.62,
        "highest": 1.62,
    },
    "segments": [
        {
            "start_seconds": 12.4,
            "end_seconds": 15.5,
            "text": "I really enjoyed this one, it was so much fun.",
            **{
                name: PREDICT_EXAMPLE[name]
                for name in (
                    *("score", "raw_score", "label", "polarity", "interval", "gate", "seen"),
                    "warnings",
                )
            },
        }
    ],
    "warnings": [
        {
            "code": "captions_beyond_end",
            "message": "Stretches left out because they begin after the clip's end (58.0 s): 1.",
        }
    ],
    "timings_ms": {
        "upload": 80.2,
        "decode": 590.0,
        "text": 0.6,
        "audio": 61.0,
        "face": 212.0,
        "model": 55.0,
        "total": 1010.0,
    },
    "model": PREDICT_EXAMPLE["model"],
    "request_id": PREDICT_EXAMPLE["request_id"],
}

JOB_EXAMPLE: dict[str, Any] = {
    "id": "mVjY3bF2s0q1Zk8dW7xTQg",
    "kind": "predict",
    "state": "done",
    "progress": 1.0,
    "created": "2026-01-31T12:00:00+00:00",
    "started": "2026-01-31T12:00:01+00:00",
    "finished": "2026-01-31T12:00:02+00:00",
    "expires": "2026-02-01T12:00:02+00:00",
    "result": PREDICT_EXAMPLE,
    "problem": None,
}

NEW_JOB_EXAMPLE = JOB_EXAMPLE | {
    "state": "queued",
    "progress": 0.0,
    "started": None,
    "finished": None,
    "expires": None,
    "result": None,
}

EXAMPLE_DETAILS = {
    "malformed_request": "The multipart body stops before its closing boundary.",
    "upload_too_slow": "The request body was not complete after 30 s.",
    "upload_too_large": "The request body is larger than 67108864 bytes.",
    "unsupported_media_type": "video has the content type 'image/png'; send video/*, audio/* or "
    "application/octet-stream.",
    "missing_field": "The transcript is missing: send the words spoken in the clip.",
    "transcript_without_times": "The transcript does not say when its words are spoken. Send "
    "WebVTT, SRT, or JSON.",
    "undecodable_clip": "The clip is an empty file: 0 bytes arrived as video.",
    "unauthorised": "This service asks for an API key: send the header 'Authorization: Bearer "
    "KEY'.",
    "job_not_found": "There is no such job; it may have expired, or be another key's.",
    "idempotency_key_reused": "This Idempotency-Key came before with another body; use a new key "
    "for it.",
    "job_store_unavailable": "The store of the jobs cannot be used now.",
    "job_store_full": "The disk that keeps the jobs is full.",
    "too_often": "This key may ask 60 times a minute.",
    "overloaded": "All 2 workers are busy and 32 clips wait; try again later.",
    "not_ready": "The service cannot answer yet: loading the model.",
    "deadline_exceeded": "There was no answer within 60 s.",
}
"""Messages as they really read, by code; others get a general sentence."""

RETRY_AFTER = {
    "Retry-After": {
        "description": "When to try again (s).",
        "schema": {"type": "integer", "minimum": 1},
    }
}


Responses = dict[int | str, dict[str, Any]]

JOB_ROUTES = ("/jobs", "/jobs/{job_id}", "/jobs/{job_id}/events")

JOB_ASKED = frozenset({"unauthorised", "job_not_found", "job_store_unavailable", "internal_error"})
"""What asking for a job can be answered with."""

JOB_REFUSED = frozenset(
    {
        "malformed_request",
        "unauthorised",
        "upload_too_slow",
        "upload_too_large",
        "unsupported_media_type",
        "invalid_field",
        "missing_field",
        "unexpected_field",
        "undecodable_clip",
        "idempotency_key_reused",
        "too_often",
        "overloaded",
        "internal_error",
        "not_ready",
        "shutting_down",
        "job_store_unavailable",
        "job_store_full",
    }
)
"""What a new job can be refused with; all else that can be wrong is its `problem` later."""


def job_responses(operation: str) -> Responses:
    """Every status of an operation on jobs: `post`, `get`, `delete` or `events`."""
    example = NEW_JOB_EXAMPLE if operation == "post" else JOB_EXAMPLE
    shown = {"content": {"application/json": {"example": example}}}
    if operation == "post":
        location = {"description": "Where to ask for the job.", "schema": {"type": "string"}}
        accepted = {**shown, "headers": {"Location": location}}
        return {202: accepted, **_problems(JOB_REFUSED, "/jobs")}
    asked = _problems(JOB_ASKED, f"/jobs/{JOB_EXAMPLE['id']}")
    if operation == "events":
        return asked
    if operation == "delete":
        forgotten = {"description": "Forgotten.", "content": {}}
        cancelled = JOB_EXAMPLE | {"state": "cancelled", "progress": 0.4, "result": None}
        shown = {"content": {"application/json": {"example": cancelled}}}
        return {200: shown, 204: forgotten, **asked}
    return {200: shown, **asked}


JOB_ONLY = frozenset(
    {
        "job_not_found",
        "idempotency_key_reused",
        "job_store_unavailable",
        "job_store_full",
        "job_abandoned",
    }
)
"""Codes that no route but those of `/jobs` answers with."""


def predict_responses() -> Responses:
    """Every status that `/predict` answers with, each with all its problems as examples."""
    responses: Responses = {200: {"content": {"application/json": {"example": PREDICT_EXAMPLE}}}}
    return responses | _problems(_codes() - JOB_ONLY - TIMELINE_ONLY, "/predict")


TIMELINE_ONLY = frozenset({"transcript_without_times"})
"""Codes that `/predict` does not answer with."""

PREDICT_ONLY = frozenset({"invalid_openface_csv"})
"""Codes that `/timeline` does not answer with."""


def timeline_responses() -> Responses:
    """Every status that `/timeline` answers with, each with all its problems as examples."""
    content: dict[str, Any] = {
        "application/json": {"example": TIMELINE_EXAMPLE},
        "image/svg+xml": {"schema": {"type": "string"}},
        "image/png": {"schema": {"type": "string", "format": "binary"}},
    }
    problems = _problems(_codes() - JOB_ONLY - PREDICT_ONLY, "/timeline")
    return {200: {"content": content}, **problems}


def _codes() -> set[str]:
    return {row.code for row in ANSWERS.values() if row.status != CLIENT_GONE}


def _problems(codes: Set[str], instance: str) -> Responses:
    """Responses by status, each with all its problems as examples."""
    responses: Responses = {}
    for row in ANSWERS.values():
        if row.code in codes:
            response = responses.setdefault(row.status, problem_response(row, instance))
            response["content"][MEDIA_TYPE]["examples"][row.code] = _example(row, instance)
    return responses


CLIENT_GONE = 499
"""Status of requests that nobody waits for any more; never sent."""

MODEL_PATH = "/v2/models/{name}"


def problem_response(row: Answer, instance: str) -> dict[str, Any]:
    """An OpenAPI response with one problem as example."""
    response: dict[str, Any] = {
        "description": row.title,
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {row.code: _example(row, instance)},
            }
        },
    }
    if row.status in {429, 503}:
        response["headers"] = RETRY_AFTER
    return response


def openapi_of(app: FastAPI, *, with_keys: bool) -> dict[str, Any]:
    """FastAPI's own document, with what it does not know.

    That is the schema of problems, to which the error responses refer, and the API key, if the
    service asks for one.
    """
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
    if with_keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path in ("/predict", "/timeline", *JOB_ROUTES):
            for operation in document["paths"][path].values():
                operation["security"] = [{"key": []}]
    # Once more: FastAPI leaves out what is null, and an example without its nulls is none.
    documented: list[tuple[str, str, Responses]] = [
        ("/predict", "post", predict_responses()),
        ("/timeline", "post", timeline_responses()),
        (MODEL_PATH, "get", {404: NOT_FOUND}),
        ("/jobs", "post", job_responses("post")),
        *(("/jobs/{job_id}", method, job_responses(method)) for method in ("get", "delete")),
        ("/jobs/{job_id}/events", "get", job_responses("events")),
    ]
    success = document["paths"]["/predict"]["post"]["responses"]["200"]
    success["content"]["application/json"]["example"] = PREDICT_EXAMPLE
    for path, method, responses in documented:
        operation = document["paths"][path][method]
        # FastAPI's own refusal of parameters: a name in a path is never out of form.
        operation["responses"].pop("422", None)
        operation["responses"].update(
            {str(status): row for status, row in responses.items() if MEDIA_TYPE in row["content"]}
        )
    return document


def _example(row: Answer, instance: str) -> dict[str, Any]:
    detail = EXAMPLE_DETAILS.get(row.code, f"{row.title}: what was wrong and what to do.")
    return {"summary": row.title, "value": example(row, detail, instance)}


NOT_FOUND = problem_response(HTTP_ANSWERS[404], "/v2/models/other")
