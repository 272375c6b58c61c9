"""What a worker that has been taken over could do: attempts from inside real worker processes."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import multiprocessing
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seccompy
from safetensors.numpy import load, save

from service import sandbox
from service.extraction import ExtractionPool
from service.metrics import Metrics
from service.worker_jobs import Job
from service.worker_limits import WorkerLimits
from tests.service.test_extraction import MIB, REPORT, job, until

LIBC = ctypes.CDLL(None, use_errno=True)
X32 = 0x4000_0000
"""Bit that asks an x86-64 kernel for the same call in another dialect."""


def _syscall(number: int, *arguments: object) -> None:
    if LIBC.syscall(number, *arguments) == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _udp(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.sendto(b"x", ("127.0.0.1", port))


def _threads() -> None:
    thread = threading.Thread(target=lambda: np.ones((300, 300)) @ np.ones((300, 300)))
    thread.start()
    thread.join()


def _in_a_child() -> None:
    if os.fork() == 0:
        os._exit(0)


ATTEMPTS: dict[str, Callable[[str], object]] = {
    "connect": lambda port: socket.create_connection(("127.0.0.1", int(port)), 1).close(),
    "udp": lambda port: _udp(int(port)),
    "unix": lambda path: socket.socket(socket.AF_UNIX).connect(path),
    "pair": lambda _: socket.socketpair(),
    "resolve": lambda _: _syscall(seccompy.syscall_nr("socket"), 2, 1, 0),
    "dialect": lambda _: _syscall(X32 | seccompy.syscall_nr("socket"), 2, 1, 0),
    "ring": lambda _: _syscall(seccompy.syscall_nr("io_uring_setup"), 1, None),
    "read": lambda path: Path(path).read_bytes(),
    "list": lambda path: os.listdir(path),  # noqa: PTH208
    "write": lambda path: Path(path).write_bytes(b"left behind"),
    "mkdir": lambda path: Path(path).mkdir(),
    "unlink": lambda path: Path(path).unlink(),
    "rename": lambda path: Path(path).rename(path + "2"),
    "link": lambda path: Path(path + "3").symlink_to(path),
    "chmod": lambda path: Path(path).chmod(0o777),
    "truncate": lambda path: os.truncate(path, 0),
    "run": lambda _: subprocess.run(["/bin/true"], check=True),
    "fork": lambda _: _in_a_child(),
    "signal": lambda pid: os.kill(int(pid), 0),
    "trace": lambda pid: _syscall(seccompy.syscall_nr("ptrace"), 16, int(pid), None, None),
    "limit": lambda pid: _syscall(seccompy.syscall_nr("prlimit64"), int(pid), 7, None, None),
    "unshare": lambda _: _syscall(seccompy.syscall_nr("unshare"), 0x10000000),
    "threads": lambda _: _threads(),
    "import": lambda name: __import__(name),
    "self": lambda _: os.kill(os.getpid(), 0),
}


def attempt(order: Job) -> tuple[dict[str, Any], bytes]:
    """Do what the transcript says, and tell how it ended: 0, or the error's number."""
    command, _, argument = order.transcript.decode().partition(" ")
    try:
        ATTEMPTS[command](argument)
        code = 0
    except OSError as error:
        code = error.errno or -1
    return REPORT, save({"errno": np.array(code)})


def pool_of(mode: sandbox.Mode, prepare: Callable[[], None] | None = None) -> ExtractionPool:
    return ExtractionPool(
        workers=1,
        limits=WorkerLimits(memory_bytes=400 * MIB, cpu_seconds=10, sandbox=mode),
        queue_clips=99,
        metrics=Metrics(),
        handler=attempt,
        prepare=prepare,
    )


def outcomes(orders: list[str], mode: sandbox.Mode = "require") -> dict[str, int]:
    async def asked() -> dict[str, int]:
        pool = pool_of(mode)
        pool.start()
        try:
            await until(lambda: pool.ready == 1 or pool.failure is not None)
            assert pool.failure is None
            answers = [await pool.extract(job(order)) for order in orders]
        finally:
            await pool.close()
        codes = [int(load(arrays)["errno"]) for _, arrays in answers]
        return dict(zip(orders, codes, strict=True))

    return asyncio.run(asked())


def confined() -> bool:
    """Whether this kernel has all that the sandbox asks of it."""
    sandbox.warm_up()
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)

    def confine() -> None:
        writer.send([*sandbox.confine_files(), *sandbox.confine_calls()])

    child = context.Process(target=confine)
    child.start()
    missing = reader.recv()
    child.join()
    return not missing


needs_kernel = pytest.mark.skipif(not confined(), reason="this kernel lacks Landlock or seccomp")


@needs_kernel
def test_nothing_can_be_reached_from_inside(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("untouched")
    folder, pid = str(tmp_path), os.getpid()
    path = str(tmp_path / "s")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen()
        port = tcp.getsockname()[1]
        orders = [
            *(f"connect {port}", f"udp {port}", f"unix {path}", "pair", "resolve", "dialect"),
            *("ring", f"read {secret}", "read /etc/passwd", f"read /proc/{pid}/environ"),
            *(f"read /proc/{pid}/mem", "list /", "list /tmp", f"list {folder}"),
            *(f"write {folder}/new", f"write {secret}", f"mkdir {folder}/d", f"unlink {secret}"),
            *(f"rename {secret}", f"link {secret}", f"chmod {secret}", f"truncate {secret}"),
            *("run", "fork", f"signal {pid}", f"trace {pid}", f"limit {pid}", "unshare"),
        ]
        found = outcomes(orders)
        tcp.setblocking(False)
        with pytest.raises(BlockingIOError):
            tcp.accept()
    allowed = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EXDEV}
    assert {order: code for order, code in found.items() if code not in allowed} == {}
    assert {item.name for item in tmp_path.iterdir()} == {"secret", "s"}
    assert secret.read_text() == "untouched"


@needs_kernel
def test_what_decoding_needs_is_there() -> None:
    found = outcomes(["threads", "import colorsys", "self", "read /proc/cpuinfo"])
    assert set(found.values()) == {0}, found


def test_the_attempts_succeed_without_a_sandbox(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("untouched")
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        port = tcp.getsockname()[1]
        orders = [
            *(f"connect {port}", f"udp {port}", "pair", "resolve", f"read {secret}", "list /"),
            *(f"mkdir {tmp_path}/d", f"rename {secret}", "run", "fork", f"signal {os.getpid()}"),
        ]
        found = outcomes(orders, "off")
    assert set(found.values()) == {0}, found


def without_seccomp() -> None:
    """Take the means of confinement from this process, as an old kernel would."""
    rules = seccompy.Filter(default=seccompy.Action.ALLOW)
    rules.errno("seccomp", errno.ENOSYS)
    rules.load()


def test_a_kernel_that_cannot_is_said_so_and_refused_where_it_is_required() -> None:
    async def missing(mode: sandbox.Mode) -> tuple[list[str] | None, str | None]:
        pool = pool_of(mode, without_seccomp)
        pool.start()
        try:
            await until(lambda: pool.ready == 1 or pool.failure is not None)
            return pool.unconfined, pool.failure
        finally:
            await pool.close()

    unconfined, failure = asyncio.run(missing("auto"))
    assert failure is None
    assert unconfined is not None
    assert [line.partition(":")[0] for line in unconfined if "files" not in line] == [
        "system calls"
    ]
    unconfined, failure = asyncio.run(missing("require"))
    assert unconfined is None
    assert failure is not None
    assert "exit code 1" in failure


@needs_kernel
def test_every_thread_is_bound_and_no_privilege_can_be_gained() -> None:
    async def states() -> list[dict[str, str]]:
        pool = pool_of("require", prepare=_start_thread)
        pool.start()
        try:
            await until(lambda: pool.ready == 1 or pool.failure is not None)
            (pid,) = pool.worker_pids
            return _thread_states(pid)
        finally:
            await pool.close()

    threads = asyncio.run(states())
    assert len(threads) == 2
    assert {thread["NoNewPrivs"] for thread in threads} == {"1"}
    assert {thread["Seccomp"] for thread in threads} == {"2"}


def _start_thread() -> None:
    threading.Thread(target=threading.Event().wait, daemon=True).start()


def _thread_states(pid: int) -> list[dict[str, str]]:
    """What /proc/PID/task/*/status says, a dictionary a thread."""
    files = sorted(Path(f"/proc/{pid}/task").glob("*/status"))
    lines = [[line.partition(":") for line in file.read_text().splitlines()] for file in files]
    return [{name: value.strip() for name, _, value in thread} for thread in lines]


def test_calls_have_names_that_linux_knows() -> None:
    from seccompy.syscalls import AARCH64_SYSCALLS, X86_64_SYSCALLS

    known = {*AARCH64_SYSCALLS, *X86_64_SYSCALLS}
    assert {*sandbox.CALLS, *sandbox.REFUSED} <= known
    assert not {*sandbox.CALLS} & {*sandbox.REFUSED}
