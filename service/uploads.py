"""From a request's form to a typed upload; what is inside the files is not looked at here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from starlette.requests import Request

from preprocessing.errors import UndecodableClip
from service.errors import InvalidField, MissingField, UnsupportedMedia
from service.form import NAME_LENGTH, Part, read_form

TRANSCRIPT_SUFFIXES = (".txt", ".vtt", ".srt")

TIMED_SUFFIXES = (".vtt", ".srt", ".json", ".txt")
"""Names of transcripts with times; a .txt file is looked at as a text field is."""

CLIP_TYPES = ("video/", "audio/")
"""Beginnings of content types that a clip may have."""

OTHER_CLIP_TYPES = frozenset(
    {
        "",
        "application/mp4",
        "application/octet-stream",
        "application/ogg",
        "application/x-matroska",
    }
)
"""Further content types that clients give to clips; octet-stream and none are given to anything."""

CSV_TYPES = frozenset(
    {
        "",
        "application/csv",
        "application/octet-stream",
        "application/vnd.ms-excel",
        "text/csv",
        "text/plain",
    }
)
"""Content types that clients give to CSV files."""

SWITCHES = {b"true": True, b"false": False}
"""Values of the fields `explain` and `tracks`."""

SWITCH_BYTES = 100
"""Most bytes of such a field: enough to be told that it is wrong, not enough to be kept."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A request's parts.

    Attributes:
        video: bytes of the clip, at least one.
        transcript: bytes of the transcript.
        transcript_suffix: ``".txt"`` (also of a text field), ``".vtt"`` or ``".srt"``.
        openface: bytes of an OpenFace CSV, at least one, or None.
        explain: whether the answer explains its score.
        tracks: whether the answer tells the clip step by step.
    """

    video: bytes
    transcript: bytes
    transcript_suffix: str
    openface: bytes | None
    explain: bool = False
    tracks: bool = False

    @property
    def wishes(self) -> list[str]:
        """Names of what the answer is to hold beyond the score."""
        return [name for name in ("explain", "tracks") if getattr(self, name)]


@dataclass(frozen=True, slots=True)
class TimelineUpload:
    """A long clip with timed words.

    Attributes:
        video: the clip in an open file, at least one byte; it stays open as long as it is worked
            on, by whoever opened it.
        transcript: bytes of the transcript.
        transcript_suffix: ``".txt"`` (also of a text field), ``".vtt"``, ``".srt"`` or ``".json"``.
    """

    video: BinaryIO
    transcript: bytes
    transcript_suffix: str


@dataclass(frozen=True, slots=True)
class JobUpload:
    """What a job is about, of any kind.

    Attributes:
        video: the clip in an open file, at least one byte; whoever opened it keeps it open.
        transcript: bytes of the transcript.
        transcript_suffix: as `Upload` or `TimelineUpload` has it.
        openface, explain, tracks: as `Upload` has them.
    """

    video: BinaryIO
    transcript: bytes
    transcript_suffix: str
    openface: bytes | None = None
    explain: bool = False
    tracks: bool = False

    @property
    def wishes(self) -> list[str]:
        """Names of what the answer is to hold beyond the score."""
        return [name for name in ("explain", "tracks") if getattr(self, name)]

    def in_memory(self) -> Upload:
        """The same, its clip read."""
        self.video.seek(0)
        return Upload(
            self.video.read(),
            self.transcript,
            self.transcript_suffix,
            self.openface,
            self.explain,
            self.tracks,
        )


@contextmanager
def file_in_memory() -> Iterator[BinaryIO]:
    """A file that is on no disk, and that a worker can be handed without a copy."""
    with os.fdopen(os.memfd_create("clip"), "w+b") as file:
        yield file


async def read_timeline_upload(
    request: Request, video: BinaryIO, *, max_video_bytes: int, max_transcript_bytes: int
) -> TimelineUpload:
    """Read and check the form of a request for a timeline.

    Args:
        request: with the form.
        video: an open, empty file that takes the clip.
        max_video_bytes: largest clip.
        max_transcript_bytes: largest transcript.

    Raises:
        As `read_upload` does.
    """
    parts = await read_form(
        request.headers.get("content-type", ""),
        request.stream(),
        limits={"video": max_video_bytes, "transcript": max_transcript_bytes},
        files={"video": video},
    )
    clip = _clip(parts)
    transcript, suffix = _transcript(parts, TIMED_SUFFIXES)
    _check_not_empty(clip)
    video.flush()
    return TimelineUpload(video, transcript, suffix)


async def read_upload(request: Request, *, max_transcript_bytes: int) -> Upload:
    """Read and check the form of a request.

    Raises:
        MalformedRequest, UnsupportedMedia, UnexpectedField, UploadTooLarge: as `read_form` says.
        MissingField, InvalidField: a part is not there, or of the wrong kind.
        UndecodableClip: the clip has no bytes.
        ClientDisconnect: the client went away while sending.
    """
    parts = await read_form(
        request.headers.get("content-type", ""),
        request.stream(),
        limits=_limits(max_transcript_bytes),
    )
    video = _clip(parts)
    transcript, suffix = _transcript(parts, TRANSCRIPT_SUFFIXES)
    openface = _openface(parts)
    _check_not_empty(video)
    return Upload(
        video=bytes(video.content),
        transcript=transcript,
        transcript_suffix=suffix,
        openface=openface,
        explain=_switch(parts, "explain"),
        tracks=_switch(parts, "tracks"),
    )


async def read_job_upload(
    request: Request, video: BinaryIO, *, max_transcript_bytes: int, fields: Mapping[str, int]
) -> tuple[JobUpload, dict[str, str]]:
    """Read and check the form of a job of any kind.

    Args:
        request: with the form.
        video: an open, empty file that takes the clip.
        max_transcript_bytes: largest transcript.
        fields: names of further text fields, each with its most bytes.

    Returns:
        The upload, and the text of those fields that are there.

    Raises:
        As `read_upload` does.
    """
    parts = await read_form(
        request.headers.get("content-type", ""),
        request.stream(),
        limits={**_limits(max_transcript_bytes), **fields},
        files={"video": video},
    )
    clip = _clip(parts)
    transcript, suffix = _transcript(parts, (*TRANSCRIPT_SUFFIXES, ".json"))
    openface = _openface(parts)
    _check_not_empty(clip)
    video.flush()
    upload = JobUpload(
        video=video,
        transcript=transcript,
        transcript_suffix=suffix,
        openface=openface,
        explain=_switch(parts, "explain"),
        tracks=_switch(parts, "tracks"),
    )
    return upload, {name: _text(parts[name]) for name in fields if name in parts}


def _limits(max_transcript_bytes: int) -> dict[str, int | None]:
    return {
        "video": None,
        "transcript": max_transcript_bytes,
        "openface": None,
        "explain": SWITCH_BYTES,
        "tracks": SWITCH_BYTES,
    }


def _text(part: Part) -> str:
    try:
        if part.filename is None:
            return part.content.decode()
    except UnicodeDecodeError as error:
        raise InvalidField(f"{part.name} is no UTF-8.", param=part.name) from error
    raise InvalidField(f"{part.name} came as a file; send it as a text field.", param=part.name)


def _openface(parts: dict[str, Part]) -> bytes | None:
    if "openface" not in parts:
        return None
    part = _file(parts, "openface")
    if part.media_type not in CSV_TYPES:
        raise _wrong_type(part, "text/csv")
    if not part.content:
        raise MissingField("The file openface is empty; leave it out instead.", param="openface")
    return bytes(part.content)


def _switch(parts: dict[str, Part], name: str) -> bool:
    part = parts.get(name)
    if part is None:
        return False
    value = bytes(part.content)
    if part.filename is not None or value not in SWITCHES:
        raise InvalidField(f"{name} is a text field, true or false.", param=name)
    return SWITCHES[value]


def _file(parts: dict[str, Part], name: str) -> Part:
    part = parts.get(name)
    if part is None:
        raise MissingField(f"The file {name} is missing.", param=name)
    if part.filename is None:
        raise InvalidField(
            f"{name} came as a text field; send it as a file part, with a filename.", param=name
        )
    return part


def _clip(parts: dict[str, Part]) -> Part:
    video = _file(parts, "video")
    if not video.media_type.startswith(CLIP_TYPES) and video.media_type not in OTHER_CLIP_TYPES:
        raise _wrong_type(video, "video/*, audio/* or application/octet-stream")
    return video


def _check_not_empty(video: Part) -> None:
    if not video.size:
        raise UndecodableClip("The clip is an empty file: 0 bytes arrived as video.")


def _wrong_type(part: Part, wanted: str) -> UnsupportedMedia:
    return UnsupportedMedia(
        f"{part.name} has the content type {part.media_type[:NAME_LENGTH]!r}; send {wanted}.",
        param=part.name,
    )


def _transcript(parts: dict[str, Part], suffixes: tuple[str, ...]) -> tuple[bytes, str]:
    part = parts.get("transcript")
    if part is None:
        raise MissingField(
            "The transcript is missing: send the words spoken in the clip.", param="transcript"
        )
    if part.filename is None:
        return bytes(part.content), ".txt"
    suffix = PurePosixPath(part.filename.lower()).suffix
    if suffix not in suffixes:
        raise UnsupportedMedia(
            f"The transcript file is named {part.filename[:NAME_LENGTH]!r}; send a "
            f"{', '.join(suffixes[:-1])} or {suffixes[-1]} file, or a text field.",
            param="transcript",
        )
    return bytes(part.content), suffix
