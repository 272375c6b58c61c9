"""Locust's users: speakers that send clips and go by Retry-After, and one that asks the probes.

Started by `benchmarks.soak`, which names the clip and the file for the counts in the environment.
By hand: SOAK_CLIP=clip.mp4 locust -f benchmarks/locustfile.py --host http://127.0.0.1:8000
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from locust import HttpUser, constant, events, task

CLIP = Path(os.environ["SOAK_CLIP"]).read_bytes()
PROBES = ("/livez", "/readyz", "/metrics")

counts: Counter[str] = Counter()
"""What the speakers saw: ``sent``, a status each, ``returned`` and ``returned_accepted`` (those
that came back as told, and found room), ``slow_refusals`` (429 after more than a second)."""


class Speaker(HttpUser):
    """Sends the next clip a second after the last answer; waits as long as a refusal says.

    Both within the task: at its end Locust kills users that wait between tasks, and may hit one
    whose wait has just ended, in the middle of its next request.
    """

    wait_time = constant(0)

    @task
    def predict(self) -> None:
        """Send a clip until it is accepted."""
        returned = False
        while True:
            counts["sent"] += 1
            counts["returned"] += returned
            started = time.perf_counter()
            with self.client.post(
                "/predict",
                files={"video": ("clip.mp4", CLIP)},
                data={"transcript": "What a wonderful day."},
                catch_response=True,
            ) as response:
                counts[str(response.status_code)] += 1
                wait = response.headers.get("Retry-After") if response.headers else None
                if response.status_code == 429 and wait is not None:
                    response.success()
                    counts["slow_refusals"] += time.perf_counter() - started > 1
                elif response.status_code == 200:
                    counts["returned_accepted"] += returned
            if self._stopping():
                return
            if response.status_code != 429 or wait is None:
                time.sleep(1)
                return
            time.sleep(int(wait))
            if self._stopping():
                return
            returned = True

    def _stopping(self) -> bool:
        runner = self.environment.runner
        return runner is None or runner.state in ("stopping", "stopped", "cleanup")


class Prober(HttpUser):
    """Asks each probe five times a second."""

    fixed_count = 1
    wait_time = constant(0.2)

    @task
    def probe(self) -> None:
        """Ask all three."""
        for path in PROBES:
            self.client.get(path)


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def write_counts(environment: Any, **_: Any) -> None:
    """Leave what was seen in the file that the soak reads."""
    target = os.environ.get("SOAK_RESULT")
    if not target:
        return
    probes = {
        entry.name: {
            "asked": entry.num_requests,
            "failed": entry.num_failures,
            "p99_ms": entry.get_response_time_percentile(0.99),
            "longest_ms": entry.max_response_time,
        }
        for entry in environment.stats.entries.values()
        if entry.name in PROBES
    }
    Path(target).write_text(json.dumps({"counts": counts, "probes": probes}))
