"""The answers' shapes: what the routes return, as OpenAPI shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from service.problems import Problem

Label = Literal[
    "highly negative",
    "negative",
    "weakly negative",
    "neutral",
    "weakly positive",
    "positive",
    "highly positive",
]
Polarity = Literal["negative", "neutral", "positive"]

LABELS: tuple[Label, ...] = (
    "highly negative",
    "negative",
    "weakly negative",
    "neutral",
    "weakly positive",
    "positive",
    "highly positive",
)
"""The seven classes of CMU-MOSI, of the scores -3 .. 3."""

SCALE = 3.0
"""Largest absolute value of a score."""


FORMED_BY = "mean of the segments' scores, weighted by their length"
"""How the score of a timeline is formed."""

EXPLANATION_EXAMPLE: dict[str, JsonValue] = {
    "baseline": 0.2,
    "without": {"text": 0.61, "audio": 1.5, "video": 1.31},
    "shapley": {"text": 0.93, "audio": 0.09, "video": 0.4},
    "transcript": "It was fun.",
    "words": [
        {"word": "It", "start": 0, "end": 2, "change": 0.04},
        {"word": "was", "start": 3, "end": 6, "change": -0.11},
        {"word": "fun.", "start": 7, "end": 11, "change": 1.07},
    ],
    "moments": [
        {"modality": "audio", "start_seconds": 0.0, "end_seconds": 0.9, "change": 0.08},
        {"modality": "video", "start_seconds": 0.0, "end_seconds": 1.0, "change": 0.35},
    ],
    "note": "What the model's own number owes to the parts of its input. It is no statement about "
    "the person, and no proof that the model is right.",
}


def clip_score(raw: float) -> float:
    """A raw score brought into -3 .. 3."""
    return max(-SCALE, min(SCALE, raw))


def label_of(score: float) -> Label:
    """The class of a clipped score: rounded to the nearest whole number, halves to even."""
    return LABELS[round(score) + 3]


def polarity_of(score: float) -> Polarity:
    """The sign of the rounded score."""
    whole = round(score)
    return "neutral" if whole == 0 else "positive" if whole > 0 else "negative"


class Shape(BaseModel):
    """Base of all answers: no field that is not declared."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Gate(Shape):
    """Weights of the model's two paths (eq. 33); they sum to 1."""

    global_: float = Field(alias="global", serialization_alias="global", ge=0, le=1)
    local: float = Field(ge=0, le=1)


class Interval(Shape):
    """Where the score that people would give lies in 9 of 10 clips like those validated on.

    Split conformal on validation data; wider where words, voice or face are missing. It says
    nothing of clips unlike those, see the model card.
    """

    low: float = Field(ge=-3, le=3)
    high: float = Field(ge=-3, le=3)
    coverage: float = Field(gt=0, lt=1, description="Share of labels inside, by validation.")


class ChannelGates(Shape):
    """Weights with which one learnable-query layer joins its three projections; sum 1.

    These are channel gates of a joint projection, not an attribution: each of the three weighed
    parts was computed from all modalities together.
    """

    text: float = Field(ge=0, le=1)
    audio: float = Field(ge=0, le=1)
    video: float = Field(ge=0, le=1)


class SeenText(Shape):
    """What reached the model of the transcript."""

    present: bool
    tokens: int = Field(description="WordPiece tokens of the whole transcript.")
    truncated: bool = Field(description="Whether the model saw its beginning only.")


class SeenAudio(Shape):
    """What reached the model of the sound."""

    present: bool = Field(description="False if there is no sound, or silence only.")
    seconds: float = Field(description="Length of the sound (s).")
    level_dbfs: float | None = Field(description="Loudness as it came (dB re full scale).")


class SeenVideo(Shape):
    """What reached the model of the pictures."""

    present: bool = Field(description="False if there is no picture, or no face in any.")
    frames: int = Field(description="Pictures looked at, five a second.")
    face_share: float = Field(ge=0, le=1, description="Share of these with a face.")
    source: Literal["built-in", "openface_csv", "openface"] | None = Field(
        description="Who found the face: the built-in tracker, the uploaded OpenFace CSV, or the "
        "operator's OpenFace."
    )
    faces: int = Field(description="Most faces seen in one picture.")
    chosen_by: Literal["only", "speech", "size", "confidence"] | None = Field(
        description="Whose face was used: the only one, the one whose mouth moves with the sound, "
        "the largest, or the one that the uploaded CSV is surest of; null without a picture."
    )


class Seen(Shape):
    """What was seen of each modality."""

    text: SeenText
    audio: SeenAudio
    video: SeenVideo


class Caution(Shape):
    """Something a reader of the score should know."""

    code: str = Field(description="Stable code, e.g. `no_face`, `no_audio`, `text_truncated`.")
    message: str


class Modalities(Shape):
    """A number for each modality."""

    text: float
    audio: float
    video: float


class ExplainedWord(Shape):
    """A word of the transcript, and what it adds to the raw score."""

    word: str
    start: int = Field(ge=0, description="Its first character in `transcript` (code points).")
    end: int = Field(description="The character after its last.")
    change: float = Field(description="Positive where it raises the score.")


class ExplainedMoment(Shape):
    """A stretch of voice or face, and what it adds to the raw score."""

    modality: Literal["audio", "video"]
    start_seconds: float = Field(ge=0)
    end_seconds: float
    change: float = Field(description="Positive where it raises the score.")


class Explanation(Shape):
    """What modalities, words and moments add to the raw score, by the model's own arithmetic."""

    model_config = ConfigDict(json_schema_extra={"example": EXPLANATION_EXAMPLE})

    baseline: float = Field(description="The raw score without any modality.")
    without: Modalities = Field(
        description="The raw score when that modality alone is taken away; where the clip has not "
        "got it, the raw score itself."
    )
    shapley: Modalities = Field(
        description="Shapley's value of each modality: with `baseline` they sum to `raw_score`. 0 "
        "for a modality that the clip has not got."
    )
    transcript: str = Field(description="The words as they were read, to which `words` points.")
    words: list[ExplainedWord] = Field(
        description="All words that the model saw, in order: integrated gradients of one step, "
        "summed over a word's tokens. They need not sum to anything."
    )
    moments: list[ExplainedMoment] = Field(
        description="Seconds of the clip with a voice, then those with a face: likewise, summed "
        "over their rows."
    )
    note: str = Field(description="What this is, and what it is not.")


class Tracks(Shape):
    """The clip step by step, for drawing; what is not there is null."""

    steps_per_second: int
    face: list[bool] | None = Field(description="Whether the picture shown has a face.")
    mouth_opening_mm: list[float | None] | None = Field(
        description="How far the lips are apart (mm); null where there is no face."
    )
    sound_dbfs: list[float] | None = Field(
        description="Loudness (dB re full scale), at least 60 dB below that of the speech."
    )


class ModelInfo(Shape):
    """Which weights answered."""

    name: str
    version: str
    encoder: str = Field(description="The text encoder.")
    checkpoint_sha256: str = Field(description="sha256 of the checkpoint file (hex).")
    feature_schema: str = Field(description="Fingerprint of the features it was trained on.")


class PredictResponse(Shape):
    """The sentiment of one clip."""

    score: float = Field(ge=-3, le=3, description="Sentiment, -3 very negative .. 3 very positive.")
    raw_score: float = Field(description="The model's own number, before it is brought into range.")
    label: Label = Field(description="The score rounded to one of seven classes.")
    polarity: Polarity = Field(description="Sign of the rounded score.")
    interval: Interval | None = Field(
        description="How far the score may be off; null if the served weights were not calibrated."
    )
    gate: Gate
    query_channel_gates: list[ChannelGates] = Field(
        description="One item a learnable-query layer, first to last: gates of the channels of a "
        "joint projection. Not an attribution of the score to text, audio and video."
    )
    seen: Seen
    warnings: list[Caution]
    timings_ms: dict[str, float] = Field(
        description="Wall time by stage (ms). `total` is all of it; `features` is decode, text and "
        "face one after the other, with audio beside them."
    )
    model: ModelInfo
    explanation: Explanation | None = Field(
        description="Why this score; null unless asked for by `explain=true`."
    )
    tracks: Tracks | None = Field(
        description="Face and sound step by step; null unless asked for by `tracks=true`."
    )
    request_id: str = Field(description="Also in the header `X-Request-ID` and in the logs.")


class TimelineSegment(Shape):
    """The sentiment of one stretch of a long clip, scored as a clip of its own."""

    start_seconds: float = Field(ge=0, description="When its words begin, since the clip's start.")
    end_seconds: float = Field(ge=0, description="When they end; segments do not overlap.")
    text: str = Field(description="Its words: of one caption, of several short ones, or of a part.")
    score: float = Field(ge=-3, le=3, description="As in the answer of `/predict`.")
    raw_score: float
    label: Label
    polarity: Polarity
    interval: Interval | None
    gate: Gate
    seen: Seen
    warnings: list[Caution]


class TimelineOverall(Shape):
    """The sentiment of the whole, and how it was formed.

    It has no interval: the segments' errors are not independent of each other, and no clip of this
    length was labelled as a whole.
    """

    score: float = Field(ge=-3, le=3)
    label: Label
    polarity: Polarity
    formed_by: str = Field(description="How the score was formed.")
    segments: int = Field(ge=1, description="Segments that it was formed of.")
    seconds: float = Field(ge=0, description="Their length together (s); pauses do not count.")
    lowest: float = Field(ge=-3, le=3, description="Score of the most negative segment.")
    highest: float = Field(ge=-3, le=3, description="Score of the most positive segment.")


class TimelineResponse(Shape):
    """The sentiment of a long clip along its captions."""

    overall: TimelineOverall
    segments: list[TimelineSegment] = Field(min_length=1, description="In the order of time.")
    warnings: list[Caution] = Field(description="What concerns the whole; segments have their own.")
    timings_ms: dict[str, float] = Field(
        description="Time by stage, summed over the segments (ms); `total` is all of the request."
    )
    model: ModelInfo
    request_id: str = Field(description="Also in the header `X-Request-ID` and in the logs.")


class Job(Shape):
    """Long work: how far it is, and how it ended.

    Attributes are set as they become known; `result` or `problem` when it is finished.
    """

    id: str = Field(
        description="Unguessable; who has it may see the job, unless keys are asked for."
    )
    kind: Literal["predict", "timeline"] = Field(description="What is done with the clip.")
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: float = Field(ge=0, le=1, description="Share that is done.")
    created: datetime
    started: datetime | None
    finished: datetime | None
    expires: datetime | None = Field(
        description="When the job is forgotten; null until it is finished."
    )
    result: PredictResponse | TimelineResponse | None = Field(
        description="Of a job that is done: what the plain route would have answered."
    )
    problem: Problem | None = Field(
        description="Of a job that failed: what the plain route would have answered."
    )


class Limits(Shape):
    """What the service admits."""

    max_upload_bytes: int
    max_transcript_bytes: int
    max_clip_seconds: float
    max_clip_pixels: int
    max_clip_streams: int
    deadline_seconds: float
    queue_clips: int
    max_timeline_upload_bytes: int
    max_timeline_seconds: float
    timeline_deadline_seconds: float
    queue_timelines: int


class FeatureInfo(Shape):
    """The features in force."""

    name: str
    fingerprint: str
    max_tokens: int
    steps_per_second: int
    audio_columns: list[str]
    video_columns: list[str]


class Sandbox(Shape):
    """How far the processes that decode clips are confined."""

    mode: Literal["auto", "require", "off"]
    missing: list[str] = Field(
        description="What the kernel does not offer; empty if files and system calls are confined."
    )


class Info(Shape):
    """What this service is."""

    service_version: str
    status: str
    device: str | None
    workers: int
    needs_key: bool = Field(description="Whether predictions are answered to API keys alone.")
    worker_sandbox: Sandbox | None = Field(description="None before the first worker is ready.")
    model: ModelInfo | None = Field(description="None while it is being loaded.")
    features: FeatureInfo | None = Field(description="None while the model is being loaded.")
    limits: Limits


class Health(Shape):
    """State of the service; `reasons` says why it is not ready."""

    status: Literal["alive", "ready", "loading", "not_ready", "draining"]
    reasons: list[str] = []


class Live(Shape):
    """Open Inference Protocol."""

    live: bool


class Ready(Shape):
    """Open Inference Protocol."""

    ready: bool


class TensorMetadata(Shape):
    """Open Inference Protocol: one input or output; -1 is a length that varies."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Shape):
    """Open Inference Protocol: what the model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
