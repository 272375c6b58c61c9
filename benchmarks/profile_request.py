"""Where the time of one request goes, and how far it is from the least that it could be.

``python -m benchmarks.profile_request``: a service of its own, on a machine with nothing else to
do, and one client that sends one clip at a time: 3, 10 and 20 s at 360, 720 and 1080 lines. Request
and floor (`benchmarks.speed_floor`) take turns, so that both meet the machine in the same state;
printed are medians, as Markdown.

* `queue`: until a worker has the clip. `features`: decode + face + text, one after the other;
  decode is the container and the pictures, face what the tracker adds to that, as it works beside
  the decoder. `sound`: decoded and analysed beside the pictures.
* `model`: batcher and forward.
* `else`: all other time until the client has the answer: HTTP, form, bytes to the worker and back,
  tensors, JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

from benchmarks.load import Form, connect
from benchmarks.speed_clips import PROFILED, WORDS, speed_clip
from benchmarks.speed_floor import Floor
from tests.service.running import Service

Timings = dict[str, float]

HEAD = """
| clip | total ms | queue | features | decode | face | text | sound | model | else | else % |
|---|---|---|---|---|---|---|---|---|---|---|"""
FLOOR_HEAD = """
| clip | request ms | floor ms | ratio |
|---|---|---|---|"""


def ask(service: Service, clip: bytes) -> Timings:
    """Stages of one request (ms); ``total`` by the client's clock."""
    form = Form.of(clip)
    with closing(connect(str(service.client.base_url))) as connection:
        started = time.perf_counter()
        status, answer = form.send(connection)
        total = 1000 * (time.perf_counter() - started)
    if status != HTTPStatus.OK:
        raise SystemExit(f"{status}: {answer.decode()}")
    stages: Timings = json.loads(answer)["timings_ms"]
    model = stages["batch"] + stages["model"]
    rest = total - stages["queue"] - stages["features"] - model
    return {**stages, "total": total, "model": model, "else": rest}


def profile_row(name: str, found: list[Timings]) -> str:
    """Medians of one clip's requests as a row."""
    of = {key: statistics.median(one[key] for one in found) for key in found[0]}
    names = ("total", "queue", "features", "decode", "face", "text", "audio", "model", "else")
    cells = [f"{of[key]:.0f}" if of[key] >= 10 else f"{of[key]:.1f}" for key in names]
    return f"| {name} | {' | '.join(cells)} | {100 * of['else'] / of['total']:.1f} |"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile_request",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeat", type=int, default=7, help="requests of each clip")
    parser.add_argument(
        "--shortest", action="store_true", help="the three-second clips alone, to try it"
    )
    options = parser.parse_args()
    clips = [(s, lines) for s, lines in PROFILED if s == 3 or not options.shortest]
    cores = len(os.sched_getaffinity(0))
    bare = Floor(cores)
    profiles, floors = [], []
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder)) as service:
        service.wait_for("/readyz")
        for seconds, lines in clips:
            name, clip = f"{seconds} s {lines}p", speed_clip(seconds, lines).read_bytes()
            requests: list[Timings] = []
            floor: list[float] = []
            for turn in range(options.repeat + 1):
                asked = ask(service, clip)
                least = bare.milliseconds(clip, WORDS)
                # The first turn warms both.
                if turn:
                    requests.append(asked)
                    floor.append(least)
            profiles.append(profile_row(name, requests))
            total = statistics.median(one["total"] for one in requests)
            least = statistics.median(floor)
            floors.append(f"| {name} | {total:.0f} | {least:.0f} | {total / least:.2f} |")
            print(f"{name} measured", flush=True)
        service.terminate()
    print(f"\n{cores} cores, {options.repeat} requests of each clip, medians")
    print(HEAD, *profiles, FLOOR_HEAD, *floors, sep="\n")


if __name__ == "__main__":
    main()
