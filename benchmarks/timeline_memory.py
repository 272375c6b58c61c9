"""Memory of a worker that goes through a short and a long clip: it must not grow with the length.

    python -m benchmarks.timeline_memory --minutes 1 10

The clips are the sample over and over (its packets are copied, see `repeated`), with a caption
every 4 s; the worker is one of the service's own. What is printed is the most memory that it had
resident while it worked on the clip (VmHWM of Linux, reset before), and that of this process, which
stands for the server.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import av
from av.stream import Stream

from examples.sample_clip import sample_clip
from service.extraction import ExtractionPool
from service.metrics import Metrics
from service.reports import StretchReport
from service.settings import MIB, Settings
from service.uploads import file_in_memory
from service.worker import prepare_worker
from service.worker_extraction import extract_timeline
from service.worker_jobs import TimelineJob
from service.worker_limits import WorkerLimits

CAPTION_SECONDS = 4.0


def repeated(clip: bytes, times: int) -> bytes:
    """A clip over and over, as Matroska: its packets are copied, nothing is encoded anew."""
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as output:
        streams: dict[int, Stream] = {}
        for turn in range(times):
            with av.open(io.BytesIO(clip), "r") as source:
                # A little more: the last packet of sound goes on beyond the pictures.
                seconds = (source.duration or 0) / av.time_base + 0.05
                if not streams:
                    streams = {s.index: output.add_stream_from_template(s) for s in source.streams}
                for packet in source.demux():
                    if packet.pts is None or packet.dts is None or packet.time_base is None:
                        continue
                    shift = round(turn * seconds / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream.index]
                    output.mux(packet)
    return target.getvalue()


def peak_bytes(process: int | str = "self") -> int:
    """Most memory that a process had resident so far (bytes)."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    if found is None:
        raise RuntimeError("this system does not tell VmHWM")
    return int(found[1]) * 1024


def forget_peak(process: int) -> None:
    """Let `peak_bytes` begin anew: getting warm takes more memory for a moment than the work."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


async def stretches_of(pool: ExtractionPool, clip: bytes, seconds: float) -> int:
    """Send a clip with a caption every `CAPTION_SECONDS` through a worker; how many came back."""
    count = int(seconds / CAPTION_SECONDS)
    captions = [
        {"start": CAPTION_SECONDS * n, "end": CAPTION_SECONDS * (n + 1), "text": "so good"}
        for n in range(count)
    ]
    settings = Settings()
    with file_in_memory() as file:
        file.write(clip)
        file.flush()
        job = TimelineJob(
            clip=file.fileno(),
            transcript=json.dumps(captions).encode(),
            transcript_suffix=".json",
            max_seconds=settings.max_timeline_seconds,
            max_pixels=settings.max_clip_pixels,
            max_streams=settings.max_clip_streams,
        )
        async with aclosing(pool.stream(job)) as parts:
            return sum([isinstance(part, StretchReport) async for part, _ in parts])


async def measured(clips: Sequence[tuple[bytes, float]]) -> list[tuple[int, int]]:
    """Stretches of each of some clips and the worker's peak meanwhile (bytes), in one worker."""
    settings = Settings()
    pool = ExtractionPool(
        workers=1,
        limits=WorkerLimits(settings.worker_memory_mib * MIB, settings.worker_cpu_seconds),
        queue_clips=1,
        metrics=Metrics(),
        prepare=prepare_worker,
        handler=extract_timeline,
        preload=("service.worker_warm",),
    )
    pool.start()
    found = []
    try:
        while not pool.ready:  # noqa: ASYNC110  a pool sets no event for it
            await asyncio.sleep(0.05)
        for clip, seconds in clips:
            forget_peak(pool.worker_pids[0])
            count = await stretches_of(pool, clip, seconds)
            found.append((count, peak_bytes(pool.worker_pids[0])))
    finally:
        await pool.close()
    return found


def main() -> None:
    """Print a line a length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 10.0])
    options = parser.parse_args()
    sample = sample_clip(seconds=10.0)
    for minutes in sorted(options.minutes):
        seconds = 60 * minutes
        clip = repeated(sample, round(seconds / 10))
        started = time.perf_counter()
        ((count, peak),) = asyncio.run(measured([(clip, seconds)]))
        print(
            f"{minutes:5.1f} min  {len(clip) / MIB:6.1f} MiB clip  {count:4} stretches  "
            f"worker {peak / MIB:6.1f} MiB  server {peak_bytes() / MIB:6.1f} MiB  "
            f"{time.perf_counter() - started:6.1f} s"
        )


if __name__ == "__main__":
    main()
