"""The words of a transcript, out of a text field or a .txt, .vtt or .srt file."""

from __future__ import annotations

import html
import io
import re
import textwrap
import unicodedata

import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from preprocessing.errors import EmptyTranscript, InvalidTranscript

CAPTION_SUFFIXES = (".vtt", ".srt")
"""Names of caption files; times, numbers and markup in them are no words."""

REASON_LENGTH = 120
"""Most characters of a parser's complaint that an error message repeats."""

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
    text = decoded(source)
    kind = suffix.lower()
    if kind in CAPTION_SUFFIXES:
        text = without_markup("\n".join(cue.text for cue in cues(text, kind.removeprefix("."))))
    elif kind != ".txt":
        raise InvalidTranscript(f"A transcript is a .txt, .vtt or .srt file, not {suffix!r}.")
    words = one_line(text)
    if not has_words(words):
        raise EmptyTranscript("The transcript holds no word. Send the words spoken in the clip.")
    return words


def has_words(text: str) -> bool:
    """Whether there is a letter or a digit in a text."""
    return any(character.isalnum() for character in text)


def one_line(text: str) -> str:
    """A text without control characters, its white space reduced to single blanks."""
    return " ".join("".join(map(_printable, text)).split())


def without_markup(text: str) -> str:
    """The words of a cue as `cues` gives them: no entities, no style overrides."""
    return html.unescape(_STYLE_OVERRIDE.sub("", text))


def decoded(source: bytes | str) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        InvalidTranscript: it is not UTF-8.
    """
    if isinstance(source, str):
        return source
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidTranscript(
            f"The transcript is not UTF-8 (byte {error.start} does not fit). Save it as UTF-8."
        ) from error


def cues(text: str, kind: str) -> list[webvtt.Caption]:
    """The cues of a caption file in the order of the file.

    Args:
        text: of the file.
        kind: ``"vtt"`` or ``"srt"``.

    Raises:
        InvalidTranscript: the text is not of this kind.
    """
    try:
        captions = webvtt.WebVTT.from_buffer(io.StringIO(text), format=kind, strict=True).captions
    except (MalformedFileError, MalformedCaptionError) as error:
        # The parser repeats the lines that it cannot read, however long they are.
        reason = textwrap.shorten(str(error), REASON_LENGTH) or "Invalid format"
        raise _unreadable(kind, reason) from error
    if not captions and kind == "srt":
        # Where VTT has a strict reading, cues with broken times are left out here.
        raise _unreadable(kind, "No cue with a valid time")
    return list(captions)


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
