"""Post the hostile corpus to a real service and say how it stood.

    python -m benchmarks.hostile                 the whole corpus, workers confined
    python -m benchmarks.hostile --trace         under strace, workers not confined: what they try
    python -m benchmarks.hostile --only bombs    one category

Ends with 1 if anything was found: an answer that is neither a score nor a 4xx problem within the
deadline, a server that is not there any more, a worker that was replaced without an answer that
says why, a file or a connection opened by a worker, a temporary file left, too much memory.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.hostile.corpus import Case, corpus
from benchmarks.hostile.post import Outcome, listening, post_all
from benchmarks.hostile.traces import accesses, tracer
from tests.service.running import CHECKPOINT, Service

DEADLINE_SECONDS = 60.0
WORKER_MIB = 1536
MIB = 1024

EXPLAINED = {
    "clip_too_costly": ("cpu_limit", "memory_limit"),
    "decoder_crashed": ("crashed",),
}
"""Answers that go with a replaced worker, and the reasons that `/metrics` counts for them."""


@dataclass
class Report:
    """What was found.

    Attributes:
        findings: a line for each thing that should not be.
        peaks: most memory by process: ``"server"`` and ``"worker"`` (MiB).
    """

    outcomes: list[Outcome] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    restarts: dict[str, int] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)


def main() -> int:
    """Run the corpus; the exit code says whether something was found."""
    parser = argparse.ArgumentParser(description="Post hostile media to a real service.")
    parser.add_argument("--flips", type=int, default=2000, help="mutants with flipped bits")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="one category")
    parser.add_argument("--trace", action="store_true", help="strace, and workers not confined")
    options = parser.parse_args()
    with listening() as (port, heard), tempfile.TemporaryDirectory() as folder:
        canary = f"http://127.0.0.1:{port}/canary"
        cases = (
            case
            for case in corpus(flips=options.flips, seed=options.seed, canary=canary)
            if options.only in ("", case.category)
        )
        report = attack(cases, Path(folder), options)
        if heard:
            report.findings.append(f"somebody asked for {canary}: {heard[0]!r}")
    _print(report)
    return 1 if report.findings else 0


def attack(cases: Iterator[Case], folder: Path, options: argparse.Namespace) -> Report:
    """Start a service, post the cases, look at what is left."""
    trace = folder / "trace" if options.trace else None
    report = Report()
    with Service(
        folder / "service",
        prefix=tracer(trace) if trace else (),
        checkpoint=CHECKPOINT,
        workers=options.workers,
        worker_memory_mib=WORKER_MIB,
        worker_cpu_seconds=30,
        deadline_seconds=DEADLINE_SECONDS,
        worker_sandbox="off" if trace else "require",
    ) as service:
        service.wait_for("/readyz")
        with watched(service, report.peaks):
            posted = post_all(
                cases,
                f"http://127.0.0.1:{service.port}",
                connections=options.connections,
                deadline=DEADLINE_SECONDS,
                secrets=[b"root:x:0:0", b"DPDF_"],
            )
            for outcome in posted:
                report.outcomes.append(outcome)
                if outcome.wrong:
                    said = f"{': '.join(outcome.case)}: {outcome.wrong} ({outcome.seconds:.1f} s)"
                    report.findings.append(said)
                    print(said, file=sys.stderr)
        service.wait_for("/readyz")
        metrics = service.client.get("/metrics").text
        found = re.findall(r'dpdf_worker_restarts_total\{reason="(\w+)"\} (\d+)', metrics)
        report.restarts = {reason: int(count) for reason, count in found}
        if (code := service.terminate()) != 0:
            report.findings.append(f"the service ended with {code}")
        report.findings += [
            f"logged: {line['exception'][-3000:]}"
            for line in service.log_lines()
            if line.get("level") == "error" and "exception" in line
        ]
        report.findings += [f"left behind: {path}" for path in service.temporary.rglob("*")]
    report.findings += _unexplained(report)
    if trace:
        report.findings += accesses(trace)
    if report.peaks.get("worker", 0) > WORKER_MIB:
        report.findings.append(f"a worker used {report.peaks['worker']:.0f} MiB")
    return report


def _unexplained(report: Report) -> list[str]:
    codes = Counter(outcome.code for outcome in report.outcomes)
    explained = {reason: 0 for reasons in EXPLAINED.values() for reason in reasons}
    for code, reasons in EXPLAINED.items():
        if sum(report.restarts.get(reason, 0) for reason in reasons) > codes[code]:
            explained |= dict.fromkeys(reasons, -1)
    return [
        f"{count} workers were replaced for {reason}, which no answer explains"
        for reason, count in report.restarts.items()
        if explained.get(reason, -1) < 0
    ]


@contextmanager
def watched(service: Service, peaks: dict[str, float]) -> Iterator[None]:
    """Note the most memory that server and workers hold at any time (MiB)."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            workers = service.workers()
            for role, pids in (("server", [service.server_pid()]), ("worker", workers)):
                peaks[role] = max(peaks.get(role, 0.0), *(_peak_mib(pid) for pid in pids), 0.0)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _peak_mib(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s*(\d+) kB", text)
    return int(found[1]) / MIB if found else 0.0


def _print(report: Report) -> None:
    categories: dict[str, list[Outcome]] = {}
    for outcome in report.outcomes:
        categories.setdefault(outcome.case[0], []).append(outcome)
    print("| category | files | answers | slowest (s) |\n|---|---|---|---|")
    for category, outcomes in categories.items():
        kinds = Counter(f"{o.status} {o.code}".strip() for o in outcomes)
        listed = ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common())
        slowest = max(outcome.seconds for outcome in outcomes)
        print(f"| {category} | {len(outcomes)} | {listed} | {slowest:.1f} |")
    memory = ", ".join(f"{role} at most {mib:.0f} MiB" for role, mib in report.peaks.items())
    print(
        f"\n{len(report.outcomes)} files; workers replaced: {report.restarts or 'none'}; {memory}"
    )
    print(f"findings: {len(report.findings)}", *report.findings[:50], sep="\n  ")


if __name__ == "__main__":
    began = time.monotonic()
    code = main()
    print(f"{time.monotonic() - began:.0f} s")
    sys.exit(code)
