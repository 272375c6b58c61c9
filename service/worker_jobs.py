"""What a worker is asked and what it answers, as they cross between it and the server."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from service import wire


@dataclass(frozen=True, slots=True)
class Job:
    """One clip to extract, as it crosses to the worker.

    Attributes:
        video: the upload's bytes.
        transcript: UTF-8 bytes of the transcript.
        transcript_suffix: ``".txt"``, ``".vtt"`` or ``".srt"``: how to read it.
        openface: bytes of an OpenFace CSV that replaces the built-in face features.
        max_seconds, max_pixels, max_streams: `preprocessing.clip.DecodeLimits`.
        explain: report where tokens and rows are in transcript and clip.
        tracks: report the clip step by step.
    """

    video: bytes
    transcript: bytes
    transcript_suffix: str
    openface: bytes | None
    max_seconds: float
    max_pixels: int
    max_streams: int
    explain: bool = False
    tracks: bool = False

    def frames(self) -> list[bytes]:
        """The frames of the request: a JSON head and three payloads."""
        head = {
            "transcript_suffix": self.transcript_suffix,
            "openface": self.openface is not None,
            "max_seconds": self.max_seconds,
            "max_pixels": self.max_pixels,
            "max_streams": self.max_streams,
            "explain": self.explain,
            "tracks": self.tracks,
        }
        return [json.dumps(head).encode(), self.video, self.transcript, self.openface or b""]


@dataclass(frozen=True, slots=True)
class TimelineJob:
    """A long clip with timed words, as it crosses to the worker.

    Attributes:
        clip: descriptor of the open file; the worker gets one of its own.
        transcript: UTF-8 bytes of the transcript.
        transcript_suffix: see `preprocessing.captions.read_captions`.
        max_seconds, max_pixels, max_streams: `preprocessing.clip.DecodeLimits`.
    """

    clip: int
    transcript: bytes
    transcript_suffix: str
    max_seconds: float
    max_pixels: int
    max_streams: int

    def frames(self) -> list[bytes]:
        """The frames of the request: a JSON head and the transcript; the file goes by itself."""
        head = {
            "timeline": True,
            "transcript_suffix": self.transcript_suffix,
            "max_seconds": self.max_seconds,
            "max_pixels": self.max_pixels,
            "max_streams": self.max_streams,
        }
        return [json.dumps(head).encode(), self.transcript]


def receive_job(channel: socket.socket, files: socket.socket) -> Job | TimelineJob:
    """Read what `frames` of either job wrote.

    Raises:
        EOFError: the server closed the channel.
    """
    head = json.loads(wire.receive(channel))
    if head.pop("timeline", False):
        return TimelineJob(wire.receive_file(files), wire.receive(channel), **head)
    video, transcript, openface = (wire.receive(channel) for _ in range(3))
    sent = head.pop("openface")
    return Job(video, transcript, openface=openface if sent else None, **head)


Answer = tuple[dict[str, Any], bytes]
"""JSON-able fields of a `service.reports.Head`, and a sample's arrays as safetensors."""

Handler = Callable[[Any], Answer | Iterator[Answer]]
"""From a job to a report and arrays, or from a timeline's job to the answers that it has."""
