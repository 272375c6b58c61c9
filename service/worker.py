"""A worker process: takes a clip's bytes from its channel, gives back what the model needs.

Hostile bytes are decoded here and nowhere else. The process is forked from a warm parent
(`service.worker_warm`), gives up what it does not need, and serves one clip at a time until its
channel closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from preprocessing.errors import PreprocessingError
from service import wire
from service.reports import head_of_fault
from service.worker_jobs import Answer, Handler, Job, TimelineJob, receive_job
from service.worker_limits import WorkerLimits, allow_cpu, give_up_rights


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
    unconfined = give_up_rights(limits, prepare)
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
    allow_cpu(limits.cpu_seconds)
    try:
        found = handler(job)
        if isinstance(found, tuple):
            report, arrays = found
            yield {"report": report}, arrays
            return
        for answer in found:
            yield answer
            allow_cpu(limits.cpu_seconds)
    except PreprocessingError as error:
        yield head_of_fault("input", str(error), error.code), b""
    except MemoryError:
        yield head_of_fault("memory", "out of memory"), b""
    except Exception as error:  # noqa: BLE001  the server logs it and answers for it
        yield head_of_fault("bug", "".join(traceback.format_exception(error))[-4000:]), b""


def _silence() -> None:
    # What decoders print is chosen by the clip; errors that matter go through the channel.
    with Path(os.devnull).open("wb") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
