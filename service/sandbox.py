"""What a worker may still ask of the kernel once it decodes strangers' bytes: next to nothing.

Two layers, for the case that a clip takes a decoder over. Both are one-way, need no privileges and
set no_new_privs:

- Landlock: of the file system only the program and its libraries can be read, nothing can be
  written, made or removed; other processes can neither be looked into nor be signalled.
- seccomp: only the system calls in `CALLS` exist. There is no socket, no program to start, no
  process to fork, no tracing; signals reach the process itself alone.

What the kernel refuses is told, not hidden: the functions return what is missing.
"""

from __future__ import annotations

import errno
import os
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal

import landlockpy
import seccompy
from landlockpy import AccessFS, Ruleset, Scope
from seccompy import Action, ArgCmp, CmpOp, Filter, FilterFlag

Mode = Literal["auto", "require", "off"]
"""``auto``: as much as the kernel allows; ``require``: all of it or no worker; ``off``: nothing."""

CALLS: Final = (
    # Memory, threads and their locks, time.
    *("futex", "futex_waitv", "set_robust_list", "rseq", "gettid", "getpid", "getppid"),
    *("mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "mincore", "msync"),
    *("mlock", "munlock", "mbind", "get_mempolicy", "set_mempolicy", "membarrier"),
    *("sched_yield", "sched_getaffinity", "sched_getscheduler", "sched_getparam", "getcpu"),
    *("sched_get_priority_max", "sched_get_priority_min", "set_tid_address", "getpriority"),
    *("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "times"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
    *("exit", "exit_group", "getrandom", "getrusage", "sysinfo", "uname"),
    # The channel to the server, and files that are open or may be read.
    *("recvfrom", "recvmsg", "sendto", "sendmsg", "read", "readv", "pread64", "write", "writev"),
    *("openat", "close", "lseek", "fstat", "newfstatat", "statx", "getdents64", "fcntl"),
    *("faccessat", "faccessat2", "readlinkat", "getcwd", "ioctl", "dup", "dup3", "memfd_create"),
    *("poll", "ppoll", "select", "pselect6", "pipe2", "eventfd2", "flock"),
    *("getuid", "geteuid", "getgid", "getegid"),
    # The same under their older names, which x86-64 has and ARM has not.
    *("open", "stat", "lstat", "access", "readlink", "dup2", "getdents", "time", "arch_prctl"),
)
"""Names of the system calls that decoding, NumPy, MediaPipe and Python's imports use."""

REFUSED: Final = (
    *("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4"),
    *("execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev"),
    *("kill", "tkill", "tgkill", "clone", "unshare", "setns", "mount", "bpf", "io_uring_setup"),
)
"""Calls answered with EPERM, so that an error names what was refused. All others do not exist for
a worker (ENOSYS), upon which libraries go an older way."""

CLONE_THREAD: Final = 0x10000
"""Flag of clone(2) that makes a thread; without it, a process."""


def warm_up() -> None:
    """Find the C library while a program may still be started for it.

    Once in the fork server is enough for all workers.
    """
    try:
        landlockpy.supported()
        seccompy.supported()
    except OSError:
        # Too old a kernel: each worker says what it lacks.
        return


def confine_files(readable: Iterable[Path] | None = None) -> list[str]:
    """Let this thread and those that it starts read the program's own files, and nothing else.

    Args:
        readable: files and folders; `program_files()` if None.

    Returns:
        What the kernel does not offer; empty if all is in force.
    """
    try:
        scope = Scope.SIGNAL | Scope.ABSTRACT_UNIX_SOCKET
        with Ruleset(scoped=scope) as rules:
            for path in program_files() if readable is None else readable:
                if path.is_dir():
                    rules.allow_path(path, AccessFS.READ_FILE | AccessFS.READ_DIR)
                elif path.exists():
                    rules.allow_path(path, AccessFS.READ_FILE)
            rules.allow_path(os.devnull, AccessFS.READ_FILE | AccessFS.WRITE_FILE)
            rules.restrict()
    except OSError as error:
        return [f"files: {error}"]
    return []


def program_files() -> list[Path]:
    """Python, its packages, our own, the system's libraries, and what tells of the processor."""
    ours = Path(__file__).parents[1]
    installed = {Path(path) for path in sysconfig.get_paths().values()}
    return [
        *(ours / name for name in ("model", "preprocessing", "service")),
        *sorted(installed),
        *(Path(prefix) / "lib" for prefix in (sys.prefix, sys.base_prefix)),
        *map(Path, ("/lib", "/lib64", "/usr/lib", "/usr/local/lib", "/etc/ld.so.cache")),
        *map(Path, ("/proc/cpuinfo", "/sys/devices/system")),
    ]


def confine_calls(calls: Sequence[str] = CALLS) -> list[str]:
    """Take every other system call from all threads of this process.

    Returns:
        What the kernel does not offer; empty if all is in force.
    """
    # With TSYNC_ESRCH a thread that cannot be bound is an error, not a number nobody looks at.
    flags = FilterFlag.TSYNC | FilterFlag.TSYNC_ESRCH
    rules = Filter(default=Action.ERRNO | errno.ENOSYS, flags=flags)
    for call in calls:
        if _has(call):
            rules.allow(call)
    for call in ("kill", "tgkill"):
        rules.allow(call, args={0: os.getpid()})
    # Of this process only: 0 stands for the caller.
    rules.allow("prlimit64", args={0: 0})
    thread = ArgCmp(0, CmpOp.MASKED_EQ, CLONE_THREAD, mask=CLONE_THREAD)
    # clone3's flags are out of a filter's sight: it does not exist, and libc takes clone instead.
    rules.allow("clone", args=[thread])
    for call in REFUSED:
        if _has(call):
            rules.errno(call, errno.EPERM)
    try:
        rules.load()
    except OSError as error:
        return [f"system calls: {error}"]
    return []


def _has(call: str) -> bool:
    """Whether this processor's Linux has a system call of that name."""
    try:
        seccompy.syscall_nr(call)
    except ValueError:
        return False
    return True
