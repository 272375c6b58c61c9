"""What a worker says of a clip, checked field by field: a worker has seen hostile bytes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from preprocessing import errors
from preprocessing.errors import PreprocessingError
from preprocessing.schema import MAX_STEPS

if TYPE_CHECKING:
    from model.inputs import Sample


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


class WordReport(_Part):
    """`preprocessing.text.Word`: characters of the transcript, and tokens."""

    start: int = Field(ge=0)
    end: int
    first_token: int = Field(ge=1)
    end_token: int


class PlacesReport(_Part):
    """Where what the model sees is: words in the transcript, rows in the clip (steps from 0)."""

    transcript: str
    words: tuple[WordReport, ...]
    audio_steps: tuple[int, ...]
    video_steps: tuple[int, ...]

    def fit(self, sample: Sample) -> bool:
        """Whether these can be the places of that sample."""
        length, tokens = len(self.transcript), len(sample.input_ids)
        steps = (self.audio_steps, self.video_steps)
        return (
            all(
                word.start < word.end <= length and word.first_token < word.end_token < tokens
                for word in self.words
            )
            and [len(found) for found in steps] == [len(sample.audio), len(sample.video)]
            and all(0 <= a <= b for found in steps for a, b in pairwise((0, *found)))
        )


class TracksReport(_Part):
    """`preprocessing.tracks.Tracks`."""

    face: tuple[bool, ...] | None = Field(max_length=MAX_STEPS)
    mouth_opening_mm: tuple[float | None, ...] | None = Field(max_length=MAX_STEPS)
    sound_dbfs: tuple[float, ...] | None = Field(max_length=MAX_STEPS)


class Report(_Part):
    """`preprocessing.features.ClipFeatures` without its numbers, and what was asked for beside.

    Attributes:
        places: for an explanation; None where none was asked for.
        tracks: the clip step by step; None where it was not asked for.
    """

    text: TextReport | None
    audio: AudioReport | None
    face: FaceReport | None
    cautions: tuple[CautionReport, ...]
    timings_ms: dict[str, float]
    places: PlacesReport | None = None
    tracks: TracksReport | None = None


class StretchReport(_Part):
    """One stretch of a timeline: `preprocessing.timeline.Stretch` without its numbers.

    Attributes:
        start: when its words begin (s since the clip's start).
        end: when they end (s).
        total: at which the last stretch will end, as far as is known (s).
        text: its words.
        report: of the stretch, as of a clip.
    """

    start: FiniteFloat = Field(ge=0)
    end: FiniteFloat = Field(ge=0)
    total: FiniteFloat = Field(ge=0)
    text: str
    report: Report


class ProgressReport(_Part):
    """How far a timeline has come in a pause: seconds of the clip, of how many."""

    seconds: FiniteFloat = Field(ge=0)
    total: FiniteFloat = Field(ge=0)


class EndingReport(_Part):
    """The end of a timeline: warnings that concern all of it."""

    cautions: tuple[CautionReport, ...]


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
    """First frame of a worker's answer, of which one field is set.

    A clip is answered by a report or a fault; a timeline by stretches and progress, any number of
    them, and at last by an ending or a fault.
    """

    report: Report | None = None
    stretch: StretchReport | None = None
    progress: ProgressReport | None = None
    ending: EndingReport | None = None
    fault: Fault | None = None

    @property
    def part(self) -> StretchReport | ProgressReport | None:
        """What more answers of the same job come after; None in the last."""
        return self.stretch or self.progress


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
