"""What OpenAPI says beyond the answers' shapes: the form, and an example of every error."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.errors import ANSWERS, HTTP_ANSWERS, Answer
from service.problems import MEDIA_TYPE, Problem, example

PREDICT_REQUEST: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["video", "transcript"],
                "additionalProperties": False,
                "properties": {
                    "video": {
                        "type": "string",
                        "format": "binary",
                        "description": "The clip: mp4, mov, mkv, webm, avi, mpg or wmv; sound "
                        "alone is possible. A file part.",
                    },
                    "transcript": {
                        "type": "string",
                        "description": "The words spoken, UTF-8: a text field, or a file part "
                        "named .txt, .vtt or .srt, whose times and tags are dropped.",
                        "example": "I really enjoyed this one, it was so much fun.",
                    },
                    "openface": {
                        "type": "string",
                        "format": "binary",
                        "description": "Optional CSV of OpenFace 2.x for the same clip: its "
                        "columns replace the built-in face features. A file part.",
                    },
                },
            },
            "encoding": {
                "video": {"contentType": "video/*, audio/*, application/octet-stream"},
                "transcript": {"contentType": "text/plain"},
                "openface": {"contentType": "text/csv"},
            },
        }
    },
}

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
    "request_id": "5f0c2b9e6d9f4a6b8f3e1c2d4a5b6c7d",
}

EXAMPLE_DETAILS = {
    "malformed_request": "The multipart body stops before its closing boundary.",
    "upload_too_slow": "The request body was not complete after 30 s.",
    "upload_too_large": "The request body is larger than 67108864 bytes.",
    "unsupported_media_type": "video has the content type 'image/png'; send video/*, audio/* or "
    "application/octet-stream.",
    "missing_field": "The transcript is missing: send the words spoken in the clip.",
    "undecodable_clip": "The clip is an empty file: 0 bytes arrived as video.",
    "unauthorised": "This service asks for an API key: send the header 'Authorization: Bearer "
    "KEY'.",
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


def predict_responses() -> dict[int | str, dict[str, Any]]:
    """Every status that `/predict` answers with, each with all its problems as examples."""
    responses: dict[int | str, dict[str, Any]] = {
        200: {"content": {"application/json": {"example": PREDICT_EXAMPLE}}}
    }
    rows = {row.code: row for row in ANSWERS.values() if row.status != CLIENT_GONE}
    for row in rows.values():
        response = responses.setdefault(row.status, problem_response(row))
        response["content"][MEDIA_TYPE]["examples"][row.code] = _example(row)
    return responses


CLIENT_GONE = 499
"""Status of requests that nobody waits for any more; never sent."""

SUCCESS = 200

MODEL_PATH = "/v2/models/{name}"


def problem_response(row: Answer) -> dict[str, Any]:
    """An OpenAPI response with one problem as example."""
    response: dict[str, Any] = {
        "description": row.title,
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {row.code: _example(row)},
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
        document["paths"]["/predict"]["post"]["security"] = [{"key": []}]
    # Once more: FastAPI leaves out what is null, and an example without `param` is none.
    documented: dict[str, tuple[str, dict[int | str, dict[str, Any]]]] = {
        "/predict": ("post", predict_responses()),
        MODEL_PATH: ("get", {404: NOT_FOUND}),
    }
    for path, (method, responses) in documented.items():
        operation = document["paths"][path][method]
        operation["responses"].update(
            {str(status): response for status, response in responses.items() if status != SUCCESS}
        )
    return document


def _example(row: Answer) -> dict[str, Any]:
    detail = EXAMPLE_DETAILS.get(row.code, f"{row.title}: what was wrong and what to do.")
    return {"summary": row.title, "value": example(row, detail)}


NOT_FOUND = problem_response(HTTP_ANSWERS[404])
