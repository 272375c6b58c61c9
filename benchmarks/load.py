"""What the scripts of speed and load share: clients in threads, metrics as numbers, memory."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection
from itertools import repeat
from pathlib import Path
from queue import SimpleQueue
from typing import Self

import httpx

from benchmarks.speed_clips import WORDS

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Load:
    """What clients saw.

    Attributes:
        statuses: of each answer, in no order.
        seconds: from the first request to the last answer.
    """

    statuses: tuple[int, ...]
    seconds: float

    @property
    def clips_a_second(self) -> float:
        """Scores a second."""
        return self.statuses.count(httpx.codes.OK) / self.seconds


@dataclass(frozen=True, slots=True)
class Form:
    """A request as it goes over the wire, made before anything is timed.

    Attributes:
        body: multipart.
        headers: that say so.
    """

    body: bytes
    headers: dict[str, str]

    @classmethod
    def of(cls, clip: bytes, words: str = WORDS) -> Self:
        """What asks for a clip's score."""
        request = httpx.Request(
            "POST", "http://localhost", files={"video": ("clip", clip)}, data={"transcript": words}
        )
        # As a connection tells them itself.
        told = ("host", "content-length")
        headers = {name: value for name, value in request.headers.items() if name not in told}
        return cls(request.read(), headers)

    def send(self, connection: HTTPConnection) -> tuple[int, bytes]:
        """Status and answer, by the plainest client there is.

        What a client's library takes of a request is no time of the service's.
        """
        connection.request("POST", "/predict", self.body, self.headers)
        response = connection.getresponse()
        return response.status, response.read()


def connect(url: str, timeout: float = 600) -> HTTPConnection:
    """An open connection to a service, with seconds that it may be silent."""
    address = httpx.URL(url)
    connection = HTTPConnection(address.host, address.port, timeout=timeout)
    connection.connect()
    return connection


def press(
    url: str, clips: Sequence[bytes], clients: int, words: Iterable[str] = repeat(WORDS)
) -> Load:
    """Send clips and words by so many clients, each the next one as soon as it has its answer."""
    free: SimpleQueue[HTTPConnection] = SimpleQueue()
    form = cache(Form.of)
    forms = [form(clip, said) for clip, said in zip(clips, words, strict=False)]

    def send(asked: Form) -> int:
        connection = free.get()
        try:
            return asked.send(connection)[0]
        finally:
            free.put(connection)

    with ExitStack() as stack:
        for _ in range(clients):
            free.put(stack.enter_context(closing(connect(url))))
        pool = stack.enter_context(ThreadPoolExecutor(clients))
        started = time.perf_counter()
        statuses = tuple(pool.map(send, forms))
        return Load(statuses, time.perf_counter() - started)


def metric(url: str, name: str, **labels: str) -> float:
    """Sum of all samples of a metric of the service that carry these labels."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    text = httpx.get(f"{url}/metrics", timeout=60).text
    return sum(
        float(value)
        for found, given, value in SAMPLE.findall(text)
        if found == name and all(label in given.split(",") for label in wanted)
    )


def memory_mib(pids: Sequence[int], key: str = "Pss") -> float:
    """Memory of processes together (MiB): ``Pss``, in which shared pages count once."""
    total = 0
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += sum(
            int(line.split()[1]) for line in rollup.splitlines() if line.startswith(f"{key}:")
        )
    return total / 1024


def peak_mib(pid: int) -> float:
    """Most memory that a process ever had (MiB)."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
