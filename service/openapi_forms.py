"""The multipart forms of the routes that take a clip, as OpenAPI shows them."""

from __future__ import annotations

from typing import Any

Field = dict[str, Any]

_TIMED = (
    'JSON is a list of objects with "start" and "end" (seconds since the clip\'s start) and '
    '"text", or an object with such a list under "segments", as Whisper writes it.'
)


def _file(description: str) -> Field:
    return {"type": "string", "format": "binary", "description": f"{description} A file part."}


def _words(description: str, example: str) -> Field:
    return {"type": "string", "description": description, "example": example}


def _choice(values: list[str], description: str) -> Field:
    """The first of the values is the default."""
    return {
        "type": "string",
        "enum": values,
        "default": values[0],
        "description": f"{description} A text field.",
    }


VIDEO = _file("The clip: mp4, mov, mkv, webm, avi, mpg or wmv; sound alone is possible.")

TRANSCRIPT = _words(
    "The words spoken, UTF-8: a text field, or a file part named .txt, .vtt or .srt, whose times "
    "and tags are dropped.",
    "I really enjoyed this one, it was so much fun.",
)

TIMED_TRANSCRIPT = _words(
    "The words with their times, UTF-8: WebVTT, SRT or JSON, as a text field or a file part named "
    f".vtt, .srt or .json. {_TIMED}",
    '[{"start": 0.4, "end": 3.1, "text": "I really enjoyed it."}]',
)

WISHES: dict[str, Field] = {
    "openface": _file(
        "Optional CSV of OpenFace 2.x for the same clip: its columns replace the built-in face "
        "features."
    ),
    "explain": _choice(
        ["false", "true"], "Whether to tell what modalities, words and moments add to the score."
    ),
    "tracks": _choice(
        ["false", "true"], "Whether to tell face and loudness of the clip step by step."
    ),
}

_MEDIA_TYPES = {
    "video": "video/*, audio/*, application/octet-stream",
    "transcript": "text/plain, text/vtt, application/json",
    "openface": "text/csv",
}


def _form(**fields: Field) -> dict[str, Any]:
    """A request body with a clip, its words, and what else a route takes."""
    return {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["video", "transcript"],
                    "additionalProperties": False,
                    "properties": fields,
                },
                "encoding": {
                    name: {"contentType": types}
                    for name, types in _MEDIA_TYPES.items()
                    if name in fields
                },
            }
        },
    }


PREDICT_REQUEST = _form(video=VIDEO, transcript=TRANSCRIPT, **WISHES)

TIMELINE_REQUEST = _form(
    video=_file("The clip, as in `/predict`, but longer."), transcript=TIMED_TRANSCRIPT
)

JOB_REQUEST = _form(
    video=_file("The clip, as the plain route of the kind takes it."),
    transcript=_words(
        "The words: for the kind `predict` as `/predict` takes them, for `timeline` with times, as "
        "`/timeline` does.",
        str(TRANSCRIPT["example"]),
    ),
    kind=_choice(["predict", "timeline"], "Which plain route's work to do."),
    callback_url={
        "type": "string",
        "format": "uri",
        "maxLength": 2048,
        "description": "Who is sent the job when it is done or failed, signed as Standard Webhooks "
        "has it; the operator admits the hosts.",
    },
    **{
        name: field | {"description": f"{field['description']} Of the kind `predict` alone."}
        for name, field in WISHES.items()
    },
)

IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The client's own name for this request, e.g. a UUID. Sent again with the same "
    "body it leads to the same job; with another body it is refused.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
