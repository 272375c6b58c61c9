"""How soon the pool is whole again after a worker was killed: ``python -m benchmarks.recovery``.

A service with a worker for each core, a client that keeps it busy, and a SIGKILL for one of its
workers, several times. Timed is from the kill until as many workers as before are ready again; what
was answered meanwhile is told.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.load import press
from benchmarks.speed_clips import speed_clip
from tests.service.running import Service


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    clip = speed_clip(1, 360).read_bytes()
    chance = random.Random(1)  # noqa: S311
    times = []
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder), workers=cores) as service:
        service.wait_for("/readyz")
        while len(service.workers()) < cores:
            time.sleep(0.1)
        with ThreadPoolExecutor(1) as beside:
            url = f"http://127.0.0.1:{service.port}"
            load = beside.submit(press, url, [clip] * (20 * options.kills), cores)
            for _ in range(options.kills):
                time.sleep(chance.uniform(0.2, 0.8))
                os.kill(chance.choice(service.workers()), signal.SIGKILL)
                killed = time.perf_counter()
                while f"dpdf_workers_ready {cores - 1}.0" not in (now := metrics(service)):
                    if time.perf_counter() - killed > 1 and f"dpdf_workers_ready {cores}.0" in now:
                        break
                while f"dpdf_workers_ready {cores}.0" not in metrics(service):
                    time.sleep(0.01)
                times.append(time.perf_counter() - killed)
            statuses = load.result().statuses
        service.terminate()
    answers = {status: statuses.count(status) for status in sorted(set(statuses))}
    print(f"{options.kills} kills, {cores} workers, answers by status: {answers}")
    print("\n| kills | shortest (s) | longest (s) |\n|---|---|---|")
    print(f"| {options.kills} | {min(times):.2f} | {max(times):.2f} |")


def metrics(service: Service) -> str:
    """What the service tells monitors now."""
    return str(service.client.get("/metrics").text)


if __name__ == "__main__":
    main()
