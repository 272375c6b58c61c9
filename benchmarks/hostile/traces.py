"""What workers ask the kernel for while they decode, as strace saw it."""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]

WARM = re.compile(r"prlimit64\(0, RLIMIT_FSIZE, \{rlim_cur=0")
"""The call with which a worker ends its own preparation (`service.worker_limits`)."""

CALLS = (
    "%file,clone,clone3,socket,connect,bind,listen,accept,accept4,sendmmsg,io_uring_setup,prlimit64"
)

HARMLESS = {"prlimit64", "clone", "clone3"}
"""Traced only to tell processes, threads and their states apart."""

CLONED = re.compile(r"(\d+) +(?:clone3?\(|<\.\.\. clone3? resumed>).*= (\d+)$")

MACHINE = ("/sys/devices/system/cpu", "/proc/sys/vm/overcommit_memory")
"""What libraries read to know how many cores there are, how fast, and how memory is given."""

CONVERTERS = re.compile(r"/usr/lib(?:64|/[\w-]+)?/gconv/[\w-]+\.so")
"""The C library's own, for names in a transport stream that are in an old alphabet."""

LINE = re.compile(r"(\d+) +(\w+)\((.*)")
PATH = re.compile(r'"([^"]*)"')


def tracer(target: Path) -> tuple[str, ...]:
    """The command that runs another one and writes its calls to a file."""
    return ("strace", "-f", "--seccomp-bpf", "-qq", "-o", str(target), "-e", f"trace={CALLS}",
            "-e", "signal=none")  # fmt: skip


def accesses(trace: Path) -> list[str]:
    """What warm workers, in all of their threads, did beyond reading the program's own files."""
    readable = [*sysconfig.get_paths().values(), f"{sys.base_prefix}/lib", f"{sys.prefix}/lib",
                *(str(ROOT / name) for name in ("model", "preprocessing", "service"))]  # fmt: skip
    lines = trace.read_text(errors="replace").splitlines()
    cloned = [made.groups() for line in lines if (made := CLONED.match(line))]
    parents = {child: parent for parent, child in cloned}
    warm: set[str] = set()
    found: list[str] = []
    for line in lines:
        call = LINE.match(line)
        if call is None:
            continue
        thread, name, rest = call.groups()
        if WARM.search(line):
            warm.add(thread)
        elif _descends(thread, parents, warm) and not _harmless(name, rest, readable):
            found.append(line[:200])
    if not warm:
        found.append("the trace shows no worker that was ready")
    return found


def _descends(thread: str, parents: dict[str, str], warm: set[str]) -> bool:
    while thread not in warm and thread in parents:
        thread = parents[thread]
    return thread in warm


def _harmless(name: str, rest: str, readable: list[str]) -> bool:
    if name in HARMLESS:
        return True
    if name not in {"openat", "open", "newfstatat", "stat", "lstat", "statx", "access", "readlink"}:
        return False
    if any(flag in rest for flag in ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TMPFILE")):
        return "/dev/null" in rest
    path = PATH.search(rest)
    if path is None or not path[1]:
        # An open file, by its number.
        return True
    if "/../" in path[1]:
        return False
    known = path[1] == str(ROOT) or CONVERTERS.fullmatch(path[1]) is not None
    return known or path[1].startswith((*readable, "/dev/null", *MACHINE))
