"""Captions: words with the time at which they are spoken, out of WebVTT, SRT or JSON.

The JSON is a list of ``{"start": 1.5, "end": 4.0, "text": "words"}`` (s), or an object with such a
list under ``segments``, as Whisper writes it; further keys are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter, ValidationError
from webvtt.models import Timestamp

from preprocessing.errors import EmptyTranscript, InvalidTranscript, TranscriptWithoutTimes
from preprocessing.transcript import (
    CAPTION_SUFFIXES,
    cues,
    decoded,
    has_words,
    one_line,
    without_markup,
)

_TOUCHING = 0.1
"""Cues follow each other at once if no more than this lies between them (s)."""

_CUE_TIME = re.compile(r"\d{2}:\d{2}[.,]\d{3}\s+-->\s")


@dataclass(frozen=True, slots=True)
class Caption:
    """Words, and from when to when they are spoken (s since the clip's start)."""

    start: float
    end: float
    text: str

    @property
    def seconds(self) -> float:
        """Its length (s)."""
        return self.end - self.start


def read_captions(source: bytes | str, suffix: str = ".txt") -> list[Caption]:
    """The captions of a transcript with times, in the order in which they stand there.

    Cues that hold no letter and no digit, such as a note for music, are left out. So are lines that
    a cue repeats from the one before it, as captions that roll up do.

    Args:
        source: the text, or a file's bytes in UTF-8.
        suffix: ``".vtt"``, ``".srt"`` or ``".json"``; for ``".txt"``, also a text field, the text's
            own beginning says which of these it is.

    Raises:
        TranscriptWithoutTimes: text that is none of these.
        InvalidTranscript: not UTF-8, not in the form that the suffix says, or a caption that ends
            before it begins.
        EmptyTranscript: no letter and no digit in it.
    """
    text = decoded(source)
    kind = suffix.lower()
    if kind == ".txt":
        kind = _kind(text)
    if kind in CAPTION_SUFFIXES:
        captions = list(_of_cues(text, kind.removeprefix(".")))
    elif kind == ".json":
        captions = _of_json(text)
    else:
        raise InvalidTranscript(
            f"A transcript with times is a .vtt, .srt or .json file, not {suffix!r}."
        )
    for number, caption in enumerate(captions, start=1):
        if caption.end <= caption.start:
            raise InvalidTranscript(
                f"Caption {number} begins at {caption.start:g} s and ends at {caption.end:g} s: "
                "its end must come after its start."
            )
    captions = [caption for caption in captions if has_words(caption.text)]
    if not captions:
        raise EmptyTranscript("The transcript holds no word. Send the words spoken in the clip.")
    return captions


def _kind(text: str) -> str:
    beginning = text.lstrip()
    if beginning.startswith(("[", "{")):
        return ".json"
    if beginning.startswith("WEBVTT"):
        return ".vtt"
    if _CUE_TIME.search(beginning):
        return ".srt"
    if not has_words(beginning):
        raise EmptyTranscript("The transcript holds no word. Send the words spoken in the clip.")
    raise TranscriptWithoutTimes(
        "The transcript does not say when its words are spoken. Send WebVTT, SRT, or JSON: a list "
        'of {"start": seconds, "end": seconds, "text": words}.'
    )


def _of_cues(text: str, kind: str) -> Iterator[Caption]:
    found = cues(text, kind)
    if kind == "srt" and (times := text.count("-->")) != len(found):
        # Read as words alone such a cue is left out; here a stretch of the clip would be.
        raise InvalidTranscript(
            f"The transcript has {times} lines with times, of which {len(found)} can be read as "
            "SRT: 00:01:02,500 --> 00:01:05,000. Mend the others."
        )
    timed = [(_seconds(cue.start_time), _seconds(cue.end_time), cue.text) for cue in found]
    before: list[str] = []
    ended = -1.0
    for start, end, words in timed:
        lines = [line.strip() for line in words.splitlines() if line.strip()]
        kept = lines
        if start - ended <= _TOUCHING:
            new = lines[_repeated(before, lines) :]
            # All of a cue may be spoken twice; unless it is shown for a moment only.
            kept = new if new or end - start <= _TOUCHING else lines
        before, ended = lines, end
        yield Caption(start, end, one_line(without_markup("\n".join(kept))))


def _repeated(before: list[str], lines: list[str]) -> int:
    """How many of the first lines are the last ones of the cue before."""
    longest = min(len(before), len(lines))
    return next((n for n in range(longest, 0, -1) if before[-n:] == lines[:n]), 0)


def _seconds(stamp: Timestamp) -> float:
    hours, minutes, seconds, milliseconds = stamp.to_tuple()
    return float(3600 * hours + 60 * minutes + seconds) + milliseconds / 1000


class _Timed(BaseModel):
    # Strict: a time in a string is no number, and "1,5" or "00:01" would be misread.
    model_config = ConfigDict(extra="ignore", strict=True)

    start: FiniteFloat
    end: FiniteFloat
    text: str


class _Segments(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    segments: list[_Timed]


_LIST = TypeAdapter(list[_Timed])


def _of_json(text: str) -> list[Caption]:
    try:
        if text.lstrip().startswith("{"):
            items = _Segments.model_validate_json(text).segments
        else:
            items = _LIST.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the text"
        raise InvalidTranscript(
            f"The transcript cannot be read as JSON with times ({place}: {first['msg']}). Send a "
            'list of {"start": seconds, "end": seconds, "text": words}.'
        ) from error
    if negative := [item.start for item in items if item.start < 0]:
        raise InvalidTranscript(
            f"A caption begins at {negative[0]:g} s. Times are seconds since the clip's start."
        )
    return [Caption(item.start, item.end, one_line(item.text)) for item in items]


def unsorted(captions: list[Caption]) -> bool:
    """Whether a caption begins before the one that stands above it."""
    return any(later.start < earlier.start for earlier, later in pairwise(captions))
