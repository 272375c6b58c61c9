"""A worker process: takes a clip's bytes from its channel, gives back what the model needs.

Hostile bytes are decoded here and nowhere else. The process is forked from a warm parent
(`service.worker_warm`), gives up what it does not need, and serves one clip at a time until its
channel closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preprocessing.errors import PreprocessingError
from service import sandbox, wire
from service.reports import head_of_fault

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.inputs import FeatureSchema
    from preprocessing.clip import ClipFeatures

NICENESS = 2
"""Workers yield to the server's own process, so that probes answer on a saturated machine."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one worker may use.

    Attributes:
        memory_bytes: address space beyond what the process has when it is ready.
        cpu_seconds: processor time for one answer: a clip, or a stretch of a timeline.
        niceness: how far it yields to others.
        sandbox: how much of `service.sandbox` must be in force.
    """

    memory_bytes: int
    cpu_seconds: int
    niceness: int = NICENESS
    sandbox: sandbox.Mode = "auto"


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


def extract_clip(job: Job) -> tuple[dict[str, Any], bytes]:
    """Run preprocessing on one clip.

    Returns:
        The report (`service.reports.Report` reads it) and the arrays ``input_ids``, ``audio``
        and ``video`` of the `Sample` as safetensors.

    Raises:
        PreprocessingError: the input is at fault.
    """
    from preprocessing.clip import DecodeLimits
    from preprocessing.features import extract
    from preprocessing.tracks import tracks_of
    from preprocessing.transcript import read_transcript

    transcript = read_transcript(job.transcript, job.transcript_suffix)
    features = extract(
        job.video,
        transcript,
        limits=DecodeLimits(job.max_seconds, job.max_pixels, job.max_streams),
        openface_csv=job.openface,
    )
    report = _report(features)
    if job.explain:
        report["places"] = _places(transcript, features)
    if job.tracks:
        report["tracks"] = asdict(tracks_of(features))
    return report, _arrays(features)


def extract_timeline(job: TimelineJob) -> Iterator[Answer]:
    """Run preprocessing on a long clip, stretch by stretch.

    Yields:
        Answers of which the last is the ending; the arrays of a stretch are those of a clip.

    Raises:
        PreprocessingError: the input is at fault.
    """
    from preprocessing.captions import read_captions
    from preprocessing.clip import DecodeLimits
    from preprocessing.shared_file import SharedFile
    from preprocessing.timeline import Progress, Stretch, measure

    try:
        captions = read_captions(job.transcript, job.transcript_suffix)
        limits = DecodeLimits(job.max_seconds, job.max_pixels, job.max_streams)
        for step in measure(SharedFile(job.clip), captions, limits=limits):
            if isinstance(step, Stretch):
                words = step.words
                stretch = {
                    "start": words.start,
                    "end": words.end,
                    "total": step.total,
                    "text": words.text,
                    "report": _report(step.features),
                }
                yield {"stretch": stretch}, _arrays(step.features)
            elif isinstance(step, Progress):
                yield {"progress": asdict(step)}, b""
            else:
                yield {"ending": asdict(step)}, b""
    finally:
        os.close(job.clip)


def _report(features: ClipFeatures) -> dict[str, Any]:
    text, audio, face = features.text, features.audio, features.face
    return {
        "text": text and {"tokens": text.tokens, "truncated": text.truncated},
        "audio": audio
        and {"seconds": audio.seconds, "level_dbfs": audio.level_dbfs, "silent": audio.silent},
        "face": face
        and {
            "frames": face.frames,
            "frames_with_face": face.frames_with_face,
            "faces": face.faces,
            "source": face.source,
            "chosen_by": face.chosen_by,
        },
        "cautions": [asdict(caution) for caution in features.cautions],
        "timings_ms": features.timings_ms,
    }


def _arrays(features: ClipFeatures) -> bytes:
    import numpy as np
    from safetensors.numpy import save

    from preprocessing.tensors import to_sample

    sample = to_sample(features, feature_schema_of_workers())
    arrays: dict[str, NDArray[Any]] = {
        "input_ids": sample.input_ids,
        "audio": sample.audio,
        "video": sample.video,
    }
    # What is written is the memory as it lies: chosen columns lie column by column.
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def _places(transcript: str, features: ClipFeatures) -> dict[str, Any]:
    """Where what the model sees is in transcript and clip: `service.reports.PlacesReport`."""
    from preprocessing.features import default_tokenizer
    from preprocessing.tensors import audio_steps, face_steps

    return {
        "transcript": transcript,
        "words": [asdict(word) for word in default_tokenizer().words(transcript)],
        "audio_steps": audio_steps(features.audio).tolist(),
        "video_steps": face_steps(features.face).tolist(),
    }


@cache
def feature_schema_of_workers() -> FeatureSchema:
    """The schema that samples are made for: the default encoder's; one a process."""
    from preprocessing.features import default_tokenizer
    from preprocessing.schema import feature_schema

    return feature_schema(default_tokenizer().sha256)


def prepare_worker(face_threads: int = 1) -> None:
    """Load what each worker needs for itself: the face tracker has threads of its own.

    And what the fork server has not loaded, so that none of it counts against the worker's limits.
    """
    from preprocessing.features import warm_up
    from service import worker_warm  # noqa: F401

    warm_up(face_threads)


def serve(
    channel: socket.socket,
    files: socket.socket,
    handler: Handler,
    prepare: Callable[[], None] | None,
    limits: WorkerLimits,
) -> None:
    """Main function of the process: say when ready, then answer jobs until the channel closes.

    The first frame is a JSON object: ``ready`` is the process id, ``unconfined`` what the kernel
    lacks of the sandbox. Every answer is two frames: a `service.reports.Head` as JSON, and the
    arrays (empty where there are none). Files come over `files`.
    """
    # The server decides when a worker ends; a Ctrl-C in its terminal reaches us all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(limits.niceness)
    unconfined = _give_up_rights(limits, prepare)
    # A closed channel means that the server is gone, or has no use for this worker any more.
    with contextlib.suppress(EOFError, ConnectionError):
        ready = {"ready": os.getpid(), "unconfined": unconfined}
        wire.send(channel, [json.dumps(ready).encode()])
        _silence()
        while True:
            job = receive_job(channel, files)
            for head, arrays in _answers(handler, job, limits):
                wire.send(channel, [json.dumps(head).encode(), arrays])


def _answers(handler: Handler, job: Job | TimelineJob, limits: WorkerLimits) -> Iterator[Answer]:
    """All answers to a job; the last is a report, an ending or a fault."""
    _allow_cpu(limits.cpu_seconds)
    try:
        found = handler(job)
        if isinstance(found, tuple):
            report, arrays = found
            yield {"report": report}, arrays
            return
        for answer in found:
            yield answer
            _allow_cpu(limits.cpu_seconds)
    except PreprocessingError as error:
        yield head_of_fault("input", str(error), error.code), b""
    except MemoryError:
        yield head_of_fault("memory", "out of memory"), b""
    except Exception as error:  # noqa: BLE001  the server logs it and answers for it
        yield head_of_fault("bug", "".join(traceback.format_exception(error))[-4000:]), b""


def _give_up_rights(limits: WorkerLimits, prepare: Callable[[], None] | None) -> list[str]:
    """Prepare the process and take from it what decoding does not need.

    Returns:
        What the kernel lacks of the sandbox; all of it where it is switched off.
    """
    sandbox.warm_up()
    with Path("/proc/self/statm").open() as memory:
        # Landlock binds one thread and what it starts: it has to come before any other thread.
        unconfined = [] if limits.sandbox == "off" else sandbox.confine_files()
        if prepare is not None:
            prepare()
        pages = int(memory.read().split()[0])
    _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + limits.memory_bytes)
    _lower(resource.RLIMIT_CORE, 0)
    # No regular file can be written, so a decoder can leave nothing behind.
    _lower(resource.RLIMIT_FSIZE, 0)
    if limits.sandbox == "off":
        return ["files: switched off", "system calls: switched off"]
    unconfined += sandbox.confine_calls()
    if unconfined and limits.sandbox == "require":
        raise SystemExit(f"DPDF_WORKER_SANDBOX is require, and {'; '.join(unconfined)}")
    return unconfined


def _silence() -> None:
    # What decoders print is chosen by the clip; errors that matter go through the channel.
    with Path(os.devnull).open("wb") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    new = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (new, new))


def _allow_cpu(seconds: int) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(usage.ru_utime + usage.ru_stime) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, hard))
