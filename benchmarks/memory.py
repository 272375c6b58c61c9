"""Memory over many requests, and by the length of a clip.

``python -m benchmarks.memory``: 2,000 clips of 1 to 4 s with 1 to 60 words by four clients, as
lengths are what caches hang on; after each tenth of them the memory of server, fork server and
workers together (proportional set size). The first tenth is the warm-up. Then the most that a
worker ever had after clips of 1, 10 and 50 s, each in a service of its own: what is held does not
grow with the clip but for its sound and its rows.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.load import memory_mib, peak_mib, press
from benchmarks.speed_clips import WORDS, speed_clip
from tests.service.running import Service

CLIENTS = 4


def processes(service: Service) -> list[int]:
    """The server and all below it."""
    found, waiting = [], [service.process.pid]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            waiting += [int(child) for child in children.read_text().split()]
    return found


def over_requests(folder: Path, requests: int) -> list[float]:
    """Memory after each tenth of the requests (MiB)."""
    generator = np.random.default_rng(0)
    clips = [speed_clip(seconds, 360).read_bytes() for seconds in (1, 2, 3, 4)]
    words = (WORDS.split() * 60)[:60]
    found = []
    with Service(folder) as service:
        service.wait_for("/readyz")
        for _ in range(10):
            load = press(
                f"http://127.0.0.1:{service.port}",
                [clips[n] for n in generator.integers(len(clips), size=requests // 10)],
                CLIENTS,
                [" ".join(words[:n]) for n in generator.integers(1, 61, size=requests // 10)],
            )
            if set(load.statuses) != {200}:
                raise RuntimeError(f"not every clip was answered: {set(load.statuses)}")
            found.append(memory_mib(processes(service)))
            print(f"{found[-1]:.0f} MiB", flush=True)
        service.terminate()
    return found


def by_length(folder: Path, seconds: int) -> float:
    """Most memory of a worker that has met one clip of this length, three times (MiB)."""
    clip = speed_clip(seconds, 360).read_bytes()
    with Service(folder, workers=1) as service:
        service.wait_for("/readyz")
        press(f"http://127.0.0.1:{service.port}", [clip] * 3, 1)
        (worker,) = service.workers()
        peak = peak_mib(worker)
        service.terminate()
    return peak


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--lengths", type=int, nargs="*", default=[1, 10, 50], help="seconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = over_requests(Path(name) / "many", options.requests)
        peaks = {one: by_length(Path(name) / str(one), one) for one in options.lengths}
    step = options.requests // 10
    print(f"\n{options.requests} requests, {len(os.sched_getaffinity(0))} workers\n")
    print(f"| after | {' | '.join(str(step * n) for n in range(1, 11))} |")
    print("|---" * 11 + "|")
    print(f"| MiB | {' | '.join(f'{one:.0f}' for one in found)} |")
    print(f"\nGrowth from the first tenth to the most after it: {max(found) / found[0] - 1:+.1%}")
    print("\n| clip | most memory of its worker (MiB) |\n|---|---|")
    print(*[f"| {one} s | {peak:.0f} |" for one, peak in peaks.items()], sep="\n")


if __name__ == "__main__":
    main()
