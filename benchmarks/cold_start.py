"""From ``python -m service`` to a green /readyz, with warm caches.

``python -m benchmarks.cold_start``: one start to fill the caches, then those that are timed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.service.running import Service


def start_seconds(folder: Path) -> float:
    """Seconds from the start of the process to the first green answer."""
    started = time.perf_counter()
    with Service(folder) as service:
        service.wait_for("/readyz")
        seconds = time.perf_counter() - started
        service.terminate()
    return seconds


def main() -> None:
    """Print a Markdown row."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_start", description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        starts = [start_seconds(Path(name) / str(n)) for n in range(options.repeat + 1)][1:]
    print("| starts | shortest (s) | longest (s) |\n|---|---|---|")
    print(f"| {len(starts)} | {min(starts):.1f} | {max(starts):.1f} |")


if __name__ == "__main__":
    main()
