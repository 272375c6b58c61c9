"""The words of a transcript, out of a text field or a .txt, .vtt or .srt file."""

from __future__ import annotations

import html
import io
import re
import unicodedata

import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from preprocessing.errors import EmptyTranscript, InvalidTranscript

CAPTION_SUFFIXES = (".vtt", ".srt")
"""Names of caption files; times, numbers and markup in them are no words."""

_STYLE_OVERRIDE = re.compile(r"\{\\[^{}]*\}")
"""Position and style in many SRT files, e.g. ``{\\an8}``, which the parser leaves in."""


def read_transcript(source: bytes | str, suffix: str = ".txt") -> str:
    """Plain words of a transcript.

    Args:
        source: the text, or a file's bytes in UTF-8, with or without a byte order mark.
        suffix: what the file's name ends with: ``".txt"`` (also for a text field), ``".vtt"`` or
            ``".srt"``, in small or capital letters.

    Returns:
        The words in one line: control characters gone, white space reduced to single blanks.

    Raises:
        InvalidTranscript: not UTF-8, not in the form that the suffix says, or another suffix.
        EmptyTranscript: no letter and no digit in it.
    """
    text = source if isinstance(source, str) else _decoded(source)
    kind = suffix.lower()
    if kind in CAPTION_SUFFIXES:
        text = _captions(text, kind.removeprefix("."))
    elif kind != ".txt":
        raise InvalidTranscript(f"A transcript is a .txt, .vtt or .srt file, not {suffix!r}.")
    words = " ".join("".join(map(_printable, text)).split())
    if not any(character.isalnum() for character in words):
        raise EmptyTranscript("The transcript holds no word. Send the words spoken in the clip.")
    return words


def _decoded(source: bytes) -> str:
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidTranscript(
            f"The transcript is not UTF-8 (byte {error.start} does not fit). Save it as UTF-8."
        ) from error


def _captions(text: str, kind: str) -> str:
    try:
        captions = webvtt.WebVTT.from_buffer(io.StringIO(text), format=kind, strict=True).captions
    except (MalformedFileError, MalformedCaptionError) as error:
        reason = str(error) or "Invalid format"
        raise _unreadable(kind, reason) from error
    if not captions and kind == "srt":
        # Where VTT has a strict reading, cues with broken times are left out here.
        raise _unreadable(kind, "No cue with a valid time")
    return html.unescape(_STYLE_OVERRIDE.sub("", "\n".join(caption.text for caption in captions)))


def _unreadable(kind: str, reason: str) -> InvalidTranscript:
    return InvalidTranscript(
        f"The transcript cannot be read as {kind.upper()}: {reason}. Send plain text instead."
    )


def _printable(character: str) -> str:
    """Turn control characters and surrogates into blanks, and leave out invisible ones."""
    category = unicodedata.category(character)
    if category in ("Cc", "Cs"):
        return " "
    return "" if category == "Cf" else character
