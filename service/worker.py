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
from collections.abc import Callable
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
        cpu_seconds: processor time for one clip.
        sandbox: how much of `service.sandbox` must be in force.
    """

    memory_bytes: int
    cpu_seconds: int
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

    @classmethod
    def receive(cls, channel: socket.socket) -> Job:
        """Read what `frames` wrote.

        Raises:
            EOFError: the server closed the channel.
        """
        head = json.loads(wire.receive(channel))
        video, transcript, openface = (wire.receive(channel) for _ in range(3))
        sent = head.pop("openface")
        return cls(video, transcript, openface=openface if sent else None, **head)


Handler = Callable[[Job], tuple[dict[str, Any], bytes]]
"""From a job to a JSON-able report and the sample's arrays as safetensors."""


def extract_clip(job: Job) -> tuple[dict[str, Any], bytes]:
    """Run preprocessing on one clip.

    Returns:
        The report (`service.reports.Report` reads it) and the arrays ``input_ids``, ``audio``
        and ``video`` of the `Sample` as safetensors.

    Raises:
        PreprocessingError: the input is at fault.
    """
    from safetensors.numpy import save

    from preprocessing.clip import DecodeLimits
    from preprocessing.features import extract
    from preprocessing.tensors import to_sample
    from preprocessing.tracks import tracks_of
    from preprocessing.transcript import read_transcript

    transcript = read_transcript(job.transcript, job.transcript_suffix)
    features = extract(
        job.video,
        transcript,
        limits=DecodeLimits(job.max_seconds, job.max_pixels, job.max_streams),
        openface_csv=job.openface,
    )
    sample = to_sample(features, feature_schema_of_workers())
    text, audio, face = features.text, features.audio, features.face
    report = {
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
        "places": _places(transcript, features) if job.explain else None,
        "tracks": asdict(tracks_of(features)) if job.tracks else None,
    }
    arrays: dict[str, NDArray[Any]] = {
        "input_ids": sample.input_ids,
        "audio": sample.audio,
        "video": sample.video,
    }
    return report, save(arrays)


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
    """Load what each worker needs for itself: the face tracker has threads of its own."""
    from preprocessing.features import warm_up

    warm_up(face_threads)


def serve(
    channel: socket.socket,
    handler: Handler,
    prepare: Callable[[], None] | None,
    limits: WorkerLimits,
) -> None:
    """Main function of the process: say when ready, then answer jobs until the channel closes.

    The first frame is a JSON object: ``ready`` is the process id, ``unconfined`` what the kernel
    lacks of the sandbox. Every answer is two frames: a `service.reports.Head` as JSON, and the
    arrays (empty after a failure).
    """
    # The server decides when a worker ends; a Ctrl-C in its terminal reaches us all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    unconfined = _give_up_rights(limits, prepare)
    # A closed channel means that the server is gone, or has no use for this worker any more.
    with contextlib.suppress(EOFError, ConnectionError):
        ready = {"ready": os.getpid(), "unconfined": unconfined}
        wire.send(channel, [json.dumps(ready).encode()])
        _silence()
        while True:
            job = Job.receive(channel)
            _allow_cpu(limits.cpu_seconds)
            head, arrays = _answer(handler, job)
            wire.send(channel, [json.dumps(head).encode(), arrays])


def _answer(handler: Handler, job: Job) -> tuple[dict[str, Any], bytes]:
    try:
        report, arrays = handler(job)
    except PreprocessingError as error:
        return head_of_fault("input", str(error), error.code), b""
    except MemoryError:
        return head_of_fault("memory", "out of memory"), b""
    except Exception as error:  # noqa: BLE001  the server logs it and answers for it
        return head_of_fault("bug", "".join(traceback.format_exception(error))[-4000:]), b""
    return {"report": report}, arrays


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
