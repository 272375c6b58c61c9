"""Ask a running service for the sentiment of clips: typed answers, typed errors, patient retries.

    with SentimentClient("http://127.0.0.1:8000") as client:
        answer = client.predict(Path("clip.mp4"), "I really liked it")
        print(answer["score"])

    SentimentError
    ├── Unreachable          no connection, or it broke, also after the last attempt
    ├── UnexpectedAnswer     an answer that the service does not give: something else is there
    ├── JobUnfinished        a job is not finished in the time given
    └── Problem              the service's own problem document (RFC 9457)
        ├── InvalidRequest   400, 404, 408, 413, 415, 422: another attempt would end likewise
        ├── Unauthorised     401: no API key, or one that is not known
        ├── Busy             429, 503: also after the last attempt, or for too long
        └── ServiceFailed    500, 504

Needs httpx and tenacity, and nothing else of this project: it may be copied.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, cast

import httpx
import tenacity

RETRIED = frozenset({429, 503})
"""Statuses that mean: the same request may be answered later."""

FINISHED = frozenset({"done", "failed", "cancelled"})
"""States that a job does not leave."""

POLL_SECONDS = 0.5
"""How often a job that is waited for is asked after (s)."""

Modality = Literal["text", "audio", "video"]
Gate = TypedDict("Gate", {"global": float, "local": float})


class Interval(TypedDict):
    """Where the label lies in `coverage` of the clips validated on."""

    low: float
    high: float
    coverage: float


class Modalities(TypedDict):
    """A number for each modality."""

    text: float
    audio: float
    video: float


class SeenText(TypedDict):
    """What reached the model of the words."""

    present: bool
    tokens: int
    truncated: bool


class SeenAudio(TypedDict):
    """What reached the model of the sound (s, dB re full scale)."""

    present: bool
    seconds: float
    level_dbfs: float | None


class SeenVideo(TypedDict):
    """What reached the model of the pictures."""

    present: bool
    frames: int
    face_share: float
    source: str | None
    faces: int
    chosen_by: str | None


class Seen(TypedDict):
    """What was seen of each modality."""

    text: SeenText
    audio: SeenAudio
    video: SeenVideo


class Warned(TypedDict):
    """Something a reader of the score should know."""

    code: str
    message: str


class Model(TypedDict):
    """Which weights answered."""

    name: str
    version: str
    encoder: str
    checkpoint_sha256: str
    feature_schema: str


class Word(TypedDict):
    """A word, its characters in the explanation's transcript, and what it adds to the score."""

    word: str
    start: int
    end: int
    change: float


class Moment(TypedDict):
    """A stretch of voice or face (s), and what it adds to the score."""

    modality: Literal["audio", "video"]
    start_seconds: float
    end_seconds: float
    change: float


class Explanation(TypedDict):
    """What the parts of the clip add to the raw score; see the service's own documentation."""

    baseline: float
    without: Modalities
    shapley: Modalities
    transcript: str
    words: list[Word]
    moments: list[Moment]
    note: str


class Tracks(TypedDict):
    """The clip step by step; null where there is nothing."""

    steps_per_second: int
    face: list[bool] | None
    mouth_opening_mm: list[float | None] | None
    sound_dbfs: list[float] | None


class Prediction(TypedDict):
    """What `POST /predict` answers."""

    score: float
    raw_score: float
    label: str
    polarity: Literal["negative", "neutral", "positive"]
    interval: Interval | None
    gate: Gate
    query_channel_gates: list[Modalities]
    seen: Seen
    warnings: list[Warned]
    timings_ms: dict[str, float]
    model: Model
    explanation: Explanation | None
    tracks: Tracks | None
    request_id: str


class Segment(TypedDict):
    """One stretch of a timeline (s), scored as a clip of its own."""

    start_seconds: float
    end_seconds: float
    text: str
    score: float
    raw_score: float
    label: str
    polarity: Literal["negative", "neutral", "positive"]
    interval: Interval | None
    gate: Gate
    seen: Seen
    warnings: list[Warned]


class Overall(TypedDict):
    """The sentiment of a whole timeline, and how it was formed."""

    score: float
    label: str
    polarity: Literal["negative", "neutral", "positive"]
    formed_by: str
    segments: int
    seconds: float
    lowest: float
    highest: float


class Timeline(TypedDict):
    """What `POST /timeline` answers."""

    overall: Overall
    segments: list[Segment]
    warnings: list[Warned]
    timings_ms: dict[str, float]
    model: Model
    request_id: str


class ProblemDocument(TypedDict):
    """RFC 9457, with the service's stable code."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    param: str | None
    request_id: str


class Job(TypedDict):
    """What `/jobs` answers; times as in ISO 8601."""

    id: str
    kind: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: float
    created: str
    started: str | None
    finished: str | None
    expires: str | None
    result: Prediction | Timeline | None
    problem: ProblemDocument | None


class SentimentError(Exception):
    """There is no answer."""


class Unreachable(SentimentError):
    """No connection to the service, or it broke."""


class UnexpectedAnswer(SentimentError):
    """Not an answer of this service; perhaps of a proxy before it."""


class JobUnfinished(SentimentError):
    """The job goes on, but the time given for it is over."""


class Problem(SentimentError):
    """The service said what was wrong.

    Attributes:
        document: as it was sent.
        status: HTTP status.
        code: stable, for programs, e.g. ``"undecodable_clip"``.
        param: the field at fault, if one is.
        request_id: by which the service's log tells more.
        retry_after_seconds: when the service thinks that another attempt is worth it (s).
    """

    def __init__(self, document: ProblemDocument, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{document['code']}: {document['detail']}")
        self.document = document
        self.status = document["status"]
        self.code = document["code"]
        self.param = document["param"]
        self.request_id = document["request_id"]
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(Problem):
    """The request is at fault."""


class Unauthorised(Problem):
    """The API key is at fault."""


class Busy(Problem):
    """The service cannot take the request now."""


class ServiceFailed(Problem):
    """The service is at fault."""


class SentimentClient:
    """A connection to one service; for one thread at a time.

    A 429, a 503 and a broken connection are met with another attempt: after the seconds that
    Retry-After asks for, else after a pause that grows and has chance in it.

    Args:
        url: where the service is, e.g. ``"http://127.0.0.1:8000"``.
        api_key: sent as ``Authorization: Bearer``, if there is one.
        attempts: most attempts a request, at least 1.
        longest_wait_seconds: where Retry-After asks for more, the error is raised instead (s).
        timeout_seconds: longest silence of a connection (s); more than the service's deadline.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        attempts: int = 5,
        longest_wait_seconds: float = 60.0,
        timeout_seconds: float = 90.0,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_seconds)
        self._longest_wait = longest_wait_seconds
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._is_worth_another),
            wait=_pause,
            stop=tenacity.stop_after_attempt(attempts),
            reraise=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def predict(
        self,
        video: Path | bytes,
        transcript: str | Path,
        *,
        openface: Path | bytes | None = None,
        explain: bool = False,
        tracks: bool = False,
    ) -> Prediction:
        """Score one clip.

        Args:
            video: a file, or its bytes.
            transcript: the words, or a .txt, .vtt or .srt file of them.
            openface: an OpenFace 2.x CSV of the clip.
            explain: ask for the explanation.
            tracks: ask for the tracks.

        Raises:
            SentimentError: see the module.
            OSError: a file cannot be read.
        """
        form = _form(video, transcript, openface, explain=explain, tracks=tracks)
        return cast(Prediction, self._ask("POST", "/predict", files=form).json())

    def timeline(self, video: Path | bytes, transcript: str | Path) -> Timeline:
        """Score a long clip along its captions.

        Args:
            video: a file, or its bytes.
            transcript: WebVTT, SRT or JSON with times, or a .vtt, .srt or .json file of them.

        Raises:
            SentimentError, OSError: as in `predict`.
        """
        form = _form(video, transcript, None, explain=False, tracks=False)
        return cast(Timeline, self._ask("POST", "/timeline", files=form).json())

    def submit(
        self,
        video: Path | bytes,
        transcript: str | Path,
        *,
        openface: Path | bytes | None = None,
        explain: bool = False,
        tracks: bool = False,
        kind: Literal["predict", "timeline"] = "predict",
        callback_url: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Leave a clip with the service, to be scored when there is time.

        Args:
            video: as in `predict`, and likewise the following.
            transcript: the words.
            openface: an OpenFace CSV.
            explain: ask for the explanation.
            tracks: ask for the tracks.
            kind: whose work to do, that of `predict` or of `timeline`.
            callback_url: where the service should report the end.
            idempotency_key: the caller's name for this request; a fresh one if None, so that
                another attempt of this call makes no second job.

        Raises:
            SentimentError, OSError: as in `predict`.
        """
        form = _form(video, transcript, openface, explain=explain, tracks=tracks)
        form["kind"] = (None, kind)
        if callback_url is not None:
            form["callback_url"] = (None, callback_url)
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return cast(Job, self._ask("POST", "/jobs", files=form, headers=headers).json())

    def job(self, job_id: str) -> Job:
        """How far a job is."""
        return cast(Job, self._ask("GET", f"/jobs/{job_id}").json())

    def result(self, job_id: str, *, within_seconds: float = 600.0) -> Prediction:
        """Wait for a job of the kind ``predict`` and return what it found.

        Raises:
            JobUnfinished: it is not over by then, or was cancelled.
            ValueError: it is of another kind.
            Problem: it failed.
        """
        return cast(Prediction, self._result(job_id, "predict", within_seconds))

    def timeline_result(self, job_id: str, *, within_seconds: float = 3600.0) -> Timeline:
        """As `result`, of a job of the kind ``timeline``."""
        return cast(Timeline, self._result(job_id, "timeline", within_seconds))

    def _result(self, job_id: str, kind: str, within_seconds: float) -> Prediction | Timeline:
        end = time.monotonic() + within_seconds
        while (job := self.job(job_id))["state"] not in FINISHED:
            if time.monotonic() >= end:
                raise JobUnfinished(f"The job {job_id} is {job['state']} ({job['progress']:.0%}).")
            time.sleep(POLL_SECONDS)
        if job["kind"] != kind:
            raise ValueError(f"The job {job_id} is of the kind {job['kind']}, not {kind}.")
        if job["problem"] is not None:
            raise _problem(job["problem"])
        if job["result"] is None:
            raise JobUnfinished(f"The job {job_id} was {job['state']}.")
        return job["result"]

    def cancel(self, job_id: str) -> None:
        """Cancel a job, or make the service forget a finished one."""
        self._ask("DELETE", f"/jobs/{job_id}")

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        return self._retrying(self._try, method, path, **content)

    def _try(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **content)
        except httpx.TransportError as error:
            raise Unreachable(f"{self._http.base_url}: {error or type(error).__name__}") from error
        if response.is_success:
            return response
        raise _error_of(response)

    def _is_worth_another(self, error: BaseException) -> bool:
        if isinstance(error, Busy):
            return (error.retry_after_seconds or 0) <= self._longest_wait
        return isinstance(error, Unreachable)


_growing: Callable[[tenacity.RetryCallState], float] = tenacity.wait_random_exponential(
    multiplier=0.5, max=20
)


def _pause(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_seconds if isinstance(error, Busy) else None
    return _growing(state) if asked is None else asked


def _form(
    video: Path | bytes,
    transcript: str | Path,
    openface: Path | bytes | None,
    *,
    explain: bool,
    tracks: bool,
) -> dict[str, tuple[str | None, str | bytes]]:
    """Parts of the form; those without a filename are text fields."""
    form: dict[str, tuple[str | None, str | bytes]] = {"video": _file(video, "clip")}
    form["transcript"] = (
        (None, transcript) if isinstance(transcript, str) else _file(transcript, "")
    )
    if openface is not None:
        form["openface"] = _file(openface, "openface.csv")
    wishes = {"explain": explain, "tracks": tracks}
    return form | {name: (None, "true") for name, wished in wishes.items() if wished}


def _file(source: Path | bytes, name: str) -> tuple[str, bytes]:
    return (name, source) if isinstance(source, bytes) else (source.name, source.read_bytes())


def _error_of(response: httpx.Response) -> SentimentError:
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind != "application/problem+json":
        return UnexpectedAnswer(
            f"{response.request.url} answered {response.status_code} {kind}: {response.text[:200]}"
        )
    asked = response.headers.get("retry-after", "")
    return _problem(response.json(), float(asked) if asked.isdecimal() else None)


def _problem(document: ProblemDocument, retry_after_seconds: float | None = None) -> Problem:
    status = document["status"]
    kind: type[Problem]
    if status in RETRIED:
        kind = Busy
    elif status == httpx.codes.UNAUTHORIZED:
        kind = Unauthorised
    else:
        kind = ServiceFailed if status >= httpx.codes.INTERNAL_SERVER_ERROR else InvalidRequest
    return kind(document, retry_after_seconds)
