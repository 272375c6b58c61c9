"""What a worker may use, and how it gives up the rest before it takes the first clip."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service import sandbox

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


def give_up_rights(limits: WorkerLimits, prepare: Callable[[], None] | None) -> list[str]:
    """Prepare the process and take from it what decoding does not need.

    Returns:
        What the kernel lacks of the sandbox; all of it where it is switched off.

    Raises:
        SystemExit: the sandbox is required, and the kernel lacks some of it.
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


def allow_cpu(seconds: int) -> None:
    """Allow the process so much more processor time from now on; then the kernel ends it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(usage.ru_utime + usage.ru_stime) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, hard))


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    new = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (new, new))
