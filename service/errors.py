"""Everything a request can fail with, and the one table that says how each is answered.

    ServiceError
    ├── MalformedRequest         400  the body is not the multipart form it claims to be
    ├── UploadTooLarge           413  more bytes than the limit, counted while they arrive
    ├── UnsupportedMedia         415  a content type that no clip, transcript or form has
    ├── InvalidField             422  a field is missing, unknown, repeated or of the wrong kind
    │   ├── MissingField
    │   └── UnexpectedField
    ├── ClipTooCostly            422  decoding hit the worker's memory or CPU limit
    ├── DecoderCrashed           422  the worker process crashed on this clip
    ├── UploadTooSlow            408  the body did not arrive in time
    ├── Unauthorised             401  no API key, or one that is not known
    ├── UnknownJob               404  no such job, or another key's
    ├── IdempotencyKeyReused     422  an Idempotency-Key that came before with another body
    ├── TooOften                 429  a key's requests of the last minute are used up
    ├── Overloaded               429  a bounded queue, or the memory for uploads, is full
    ├── NotReady                 503  still loading, or not able to serve any more
    │   └── Draining             503  shutting down
    ├── DeadlineExceeded         504  no answer within the deadline
    ├── JobStoreUnavailable      503  the database of the jobs cannot be used
    ├── JobStoreFull             507  the disk of the jobs is full
    ├── JobAbandoned             500  the service died several times over this job
    ├── WorkerFailed             503  the worker process that held this clip was killed
    ├── ExtractionFailed         500  a bug in preprocessing
    └── ModelFailed              500  the model failed on the batch that held this clip

The input's own faults are `preprocessing.errors.PreprocessingError` (422), the framework's are
Starlette's and FastAPI's. `answer_for` finds the row of any of them; whatever has no row of its
own is an unexpected error and is answered 500 without a word about its cause.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from preprocessing import errors as clip


class ServiceError(Exception):
    """A request that cannot be answered with a score.

    Attributes:
        param: the form field or header at fault, if one is.
        retry_after_seconds: when it is worth trying again, if it is (s).
    """

    def __init__(
        self, message: str, *, param: str | None = None, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.retry_after_seconds = retry_after_seconds


class MalformedRequest(ServiceError):
    """The body is not well-formed multipart/form-data."""


class UploadTooLarge(ServiceError):
    """The body, or a part of it, is larger than its limit."""


class UnsupportedMedia(ServiceError):
    """The request, or a part of it, has a content type that cannot be what is asked for."""


class InvalidField(ServiceError):
    """A form field has the wrong kind: text where a file belongs, or the other way round."""


class MissingField(InvalidField):
    """A required form field is not there, or empty."""


class UnexpectedField(InvalidField):
    """A form field that does not exist, or one that came twice."""


class ClipTooCostly(ServiceError):
    """Decoding this clip needs more memory or CPU time than a worker may use."""


class DecoderCrashed(ServiceError):
    """The worker process crashed on this clip, and the next one would as well."""


class UploadTooSlow(ServiceError):
    """The body did not arrive within the upload timeout."""


class Unauthorised(ServiceError):
    """The request carries no API key that is known."""


class UnknownJob(ServiceError):
    """There is no such job, it has expired, or it is another key's."""


class IdempotencyKeyReused(ServiceError):
    """The caller's Idempotency-Key stands for another request already."""


class TooOften(ServiceError):
    """The caller has used up the requests that its key allows."""


class Overloaded(ServiceError):
    """More work than the bounded queues admit."""


class NotReady(ServiceError):
    """The service is still loading, or can no longer compute."""


class Draining(NotReady):
    """The service is shutting down and takes no new work."""


class DeadlineExceeded(ServiceError):
    """The answer was not ready within the deadline."""


class WorkerFailed(ServiceError):
    """The worker process was killed while it held this clip."""


class JobStoreUnavailable(ServiceError):
    """The database that keeps the jobs cannot be used."""


class JobStoreFull(ServiceError):
    """The database that keeps the jobs has no room on its disk."""


class JobAbandoned(ServiceError):
    """Process after process vanished while it held this job."""


class ExtractionFailed(ServiceError):
    """Preprocessing raised something that is not a fault of the input."""


class ModelFailed(ServiceError):
    """The model failed on the batch that held this clip."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A row of the table.

    Attributes:
        status: HTTP status.
        code: stable, for programs.
        title: the same for every occurrence, for people.
        detail: what to say instead of the exception's own message; None = its message.
        param: the form field at fault, where it is always the same one.
    """

    status: int
    code: str
    title: str
    detail: str | None = None
    param: str | None = None


UNEXPECTED = Answer(
    500,
    "internal_error",
    "Internal error",
    "Something failed that should not have. The log has the details under this request id.",
)

ANSWERS: dict[type[Exception], Answer] = {
    MalformedRequest: Answer(400, "malformed_request", "Malformed request"),
    UploadTooSlow: Answer(408, "upload_too_slow", "Upload too slow"),
    UploadTooLarge: Answer(413, "upload_too_large", "Upload too large"),
    UnsupportedMedia: Answer(415, "unsupported_media_type", "Unsupported media type"),
    InvalidField: Answer(422, "invalid_field", "Invalid field"),
    MissingField: Answer(422, "missing_field", "Missing field"),
    UnexpectedField: Answer(422, "unexpected_field", "Unexpected field"),
    ClipTooCostly: Answer(422, "clip_too_costly", "Clip too costly to decode", param="video"),
    DecoderCrashed: Answer(422, "decoder_crashed", "Clip crashes the decoder", param="video"),
    Unauthorised: Answer(401, "unauthorised", "API key needed"),
    UnknownJob: Answer(404, "job_not_found", "Job not found"),
    IdempotencyKeyReused: Answer(422, "idempotency_key_reused", "Idempotency key reused"),
    TooOften: Answer(429, "too_often", "Too often"),
    Overloaded: Answer(429, "overloaded", "Too many requests"),
    NotReady: Answer(503, "not_ready", "Not ready"),
    Draining: Answer(503, "shutting_down", "Shutting down"),
    WorkerFailed: Answer(503, "worker_failed", "Worker failed"),
    JobStoreUnavailable: Answer(503, "job_store_unavailable", "Job store unavailable"),
    JobStoreFull: Answer(507, "job_store_full", "Job store full"),
    JobAbandoned: Answer(500, "job_abandoned", "Job abandoned"),
    DeadlineExceeded: Answer(504, "deadline_exceeded", "Deadline exceeded"),
    ExtractionFailed: Answer(500, "extraction_failed", "Feature extraction failed"),
    ModelFailed: Answer(500, "model_failed", "Model failed"),
    ServiceError: UNEXPECTED,
    clip.UndecodableClip: Answer(422, "undecodable_clip", "Undecodable clip", param="video"),
    clip.ClipTooLong: Answer(422, "clip_too_long", "Clip too long", param="video"),
    clip.ClipTooLarge: Answer(422, "clip_too_large", "Clip too large", param="video"),
    clip.EmptyTranscript: Answer(422, "empty_transcript", "Empty transcript", param="transcript"),
    clip.InvalidTranscript: Answer(
        422, "invalid_transcript", "Invalid transcript", param="transcript"
    ),
    clip.TranscriptWithoutTimes: Answer(
        422, "transcript_without_times", "Transcript without times", param="transcript"
    ),
    clip.InvalidOpenFaceCsv: Answer(
        422, "invalid_openface_csv", "Invalid OpenFace CSV", param="openface"
    ),
    clip.PreprocessingError: Answer(422, "invalid_input", "Invalid input"),
    RequestValidationError: Answer(
        422, "invalid_parameter", "Invalid parameter", "A path or query parameter is out of form."
    ),
    # Nobody reads this answer; the row gives the log and the metrics a name for it.
    ClientDisconnect: Answer(
        499, "client_gone", "Client gone", "The client closed the connection."
    ),
}

HTTP_ANSWERS: dict[int, Answer] = {
    400: Answer(400, "malformed_request", "Malformed request"),
    404: Answer(404, "not_found", "Not found", "There is nothing at this path. See /docs."),
    405: Answer(405, "method_not_allowed", "Method not allowed", "See the Allow header, or /docs."),
}
"""What the framework itself refuses, by the status of its HTTPException."""


def answer_for(error: Exception) -> Answer:
    """The row for an exception: its own, else that of its nearest base class, else 500."""
    if isinstance(error, HTTPException):
        return HTTP_ANSWERS.get(
            error.status_code, Answer(error.status_code, "http_error", "Request refused")
        )
    return next((ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS), UNEXPECTED)
