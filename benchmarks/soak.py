"""Overload, for as long as it is asked: what is carried, what is refused, and whether all is told.

``python -m benchmarks.soak --minutes 10``: a service of its own as it comes. First the best that it
carries: as many clients as it has workers, twice. Then Locust with far more clients than it can
carry, who go by Retry-After; and one that asks the probes five times a second. Server and clients
count, and their counts are compared. Printed as Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.load import metric, press
from benchmarks.speed_clips import speed_clip
from tests.service.running import Service

CALM_SECONDS = 20


def best(url: str, clip: bytes, clients: int) -> float:
    """Clips a second with no more clients than there is work for."""
    rate = press(url, [clip] * 4 * clients, clients).clips_a_second
    return press(url, [clip] * max(clients, int(CALM_SECONDS * rate)), clients).clips_a_second


def overload(url: str, clip: Path, users: int, seconds: float, folder: Path) -> dict[str, Any]:
    """Let Locust press; returns what its users counted, and for how long they were at it."""
    result = folder / "soak.json"
    command = [
        *(sys.executable, "-m", "locust", "-f", "benchmarks/locustfile.py", "--headless"),
        *("--host", url, "--users", str(users + 1), "--spawn-rate", str(users)),
        *("--run-time", f"{seconds:.0f}s", "--stop-timeout", "300", "--loglevel", "WARNING"),
        "--only-summary",
    ]
    environment = {**os.environ, "SOAK_CLIP": str(clip), "SOAK_RESULT": str(result)}
    started = time.perf_counter()
    # Its exit code says whether a request failed, which the counts say as well.
    subprocess.run(command, env=environment, capture_output=True, check=False)
    lasted = time.perf_counter() - started
    found: dict[str, Any] = json.loads(result.read_text())
    return {**found, "seconds": lasted}


def served(url: str) -> dict[str, float]:
    """The server's count of answers to /predict, by status."""
    return {
        status: metric(url, "dpdf_requests_total", route="/predict", status=status)
        for status in ("200", "429", "499", "500", "503", "504")
    }


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--users", type=int, default=64, help="clients that send clips")
    options = parser.parse_args()
    path = speed_clip(3, 360)
    workers = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name, Service(Path(name) / "service") as service:
        url = f"http://127.0.0.1:{service.port}"
        service.wait_for("/readyz")
        calm = best(url, path.read_bytes(), 2 * workers)
        before = served(url)
        found = overload(url, path, options.users, 60 * options.minutes, Path(name))
        after = served(url)
        restarts = metric(url, "dpdf_worker_restarts_total")
        code = service.terminate()
    counts: dict[str, int] = found["counts"]
    by_server = {status: int(after[status] - before[status]) for status in after}
    by_clients = {status: counts.get(status, 0) for status in after}
    rate = by_clients["200"] / found["seconds"]
    returned = counts.get("returned", 0)
    print(f"\n{options.minutes:g} minutes, {options.users} clients, {workers} workers\n")
    print("| | by the clients | by the server |\n|---|---|---|")
    print(f"| sent | {counts['sent']} | {sum(by_server.values())} |")
    for status in after:
        print(f"| {status} | {by_clients[status]} | {by_server[status]} |")
    print(f"| no answer | {counts.get('0', 0)} | |")
    print("\n| | |\n|---|---|")
    print(f"| best, {2 * workers} clients | {calm:.2f} clips/s |")
    print(f"| overloaded | {rate:.2f} clips/s ({rate / calm:.2f} of the best) |")
    print(f"| refused after more than 1 s | {counts.get('slow_refusals', 0)} |")
    if returned:
        share = counts.get("returned_accepted", 0) / returned
        print(f"| came back when told, and found room | {share:.0%} of {returned} |")
    print(f"| workers replaced | {restarts:.0f} |")
    print(f"| exit code | {code} |")
    print(
        "\n| probe | asked | failed | 99th percentile (ms) | longest (ms) |\n|---|---|---|---|---|"
    )
    for probe, seen in found["probes"].items():
        print(
            f"| {probe} | {seen['asked']} | {seen['failed']} | {seen['p99_ms']:.0f} "
            f"| {seen['longest_ms']:.0f} |"
        )


if __name__ == "__main__":
    main()
