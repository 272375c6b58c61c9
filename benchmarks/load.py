"""What the scripts of speed and load share: clients in threads, metrics as numbers, memory."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

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


def press(
    url: str, clips: Sequence[bytes], clients: int, words: Iterable[str] = repeat(WORDS)
) -> Load:
    """Send clips and words by so many clients, each the next one as soon as it has its answer."""

    def send(clip: bytes, said: str) -> int:
        files, form = {"video": ("clip.mp4", clip)}, {"transcript": said}
        return client.post("/predict", files=files, data=form).status_code

    limits = httpx.Limits(max_connections=clients)
    with (
        httpx.Client(base_url=url, timeout=600, limits=limits) as client,
        ThreadPoolExecutor(clients) as pool,
    ):
        started = time.perf_counter()
        statuses = tuple(pool.map(send, clips, words))
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
