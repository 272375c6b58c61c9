"""What a worker says of a clip, checked field by field: a worker has seen hostile bytes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from preprocessing import errors
from preprocessing.errors import PreprocessingError


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class TextReport(_Part):
    """Tokens of the whole transcript, and whether they were cut."""

    tokens: int
    truncated: bool


class AudioReport(_Part):
    """Length (s), level as it came (dB re full scale) and silence of the sound."""

    seconds: float
    level_dbfs: float
    silent: bool


class FaceReport(_Part):
    """Pictures looked at, those with a face, most faces in one, who saw them, why this face."""

    frames: int
    frames_with_face: int
    faces: int
    source: Literal["built-in", "openface_csv", "openface"]
    chosen_by: Literal["only", "speech", "size", "confidence"]


class CautionReport(_Part):
    """A warning for the reader of the score."""

    code: str
    message: str


class Report(_Part):
    """`preprocessing.features.ClipFeatures` without its numbers."""

    text: TextReport | None
    audio: AudioReport | None
    face: FaceReport | None
    cautions: tuple[CautionReport, ...]
    timings_ms: dict[str, float]


class Fault(_Part):
    """Why there is no report.

    Attributes:
        kind: ``"input"`` (a `PreprocessingError`), ``"memory"`` (the worker's limit) or ``"bug"``.
        code: the error's stable code, for ``"input"``.
        message: the error's message.
    """

    kind: str
    code: str = ""
    message: str


class Head(_Part):
    """First frame of a worker's answer: a report, or a fault."""

    report: Report | None = None
    fault: Fault | None = None


def input_error(fault: Fault) -> PreprocessingError:
    """The `PreprocessingError` that a fault of kind ``"input"`` stands for."""
    kinds: dict[str, type[PreprocessingError]] = {
        kind.code: kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, PreprocessingError)
    }
    return kinds.get(fault.code, PreprocessingError)(fault.message)


def head_of_fault(kind: str, message: str, code: str = "") -> dict[str, Any]:
    """The JSON-able head of an answer without a report."""
    return {"fault": {"kind": kind, "code": code, "message": message}}
