"""Processor time of each part of a clip's features, one after the other in one process.

``python -m benchmarks.processor_time`` (half a minute). Processor time, unlike wall time, bears a
machine that does other things; clips of ten seconds, milliseconds of one core, the least of three.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from benchmarks.speed_clips import SIZES, speed_clip
from preprocessing import audio, face
from preprocessing.clip import DecodeLimits, Sound
from preprocessing.decode import read_frames, read_sound
from preprocessing.schema import STEPS_PER_SECOND
from preprocessing.sight import FaceGraphs

T = TypeVar("T")
SILENCE = Sound(np.zeros(0, np.float32))
SECONDS = 10


def cost(work: Callable[[], T]) -> tuple[T, float]:
    """The result, and the least processor time of three (ms)."""
    least = float("inf")
    for _ in range(3):
        started = time.process_time()
        result = work()
        least = min(least, 1000 * (time.process_time() - started))
    return result, least


def row(lines: int, graphs: FaceGraphs) -> str:
    """One clip's costs."""
    clip, limits = speed_clip(SECONDS, lines).read_bytes(), DecodeLimits()
    frames, decode = cost(lambda: list(read_frames(clip, limits, STEPS_PER_SECOND)))
    sights, look = cost(lambda: [graphs.look(frame.rgb) for frame in frames])
    found = [(frame, sight[0]) for frame, sight in zip(frames, sights, strict=True) if sight]
    _, rows = cost(lambda: [face._row(*one, complete=False) for one in found])
    _, every = cost(lambda: [face._row(*one, complete=True) for one in found])
    sound, hear = cost(lambda: read_sound(clip, limits) or SILENCE)
    _, analyse = cost(lambda: audio.analyse(sound))
    cells = (decode, look, rows, every - rows, hear, analyse)
    return f"| {lines}p | {len(frames)} | {' | '.join(f'{cell:.0f}' for cell in cells)} |"


def main() -> None:
    """Print the table."""
    graphs = FaceGraphs()
    audio.warm_up()
    rows = [row(lines, graphs) for lines in SIZES]
    print("| clip | pictures | decode | MediaPipe | rows | (gaze, eyes, pose) | sound | analysis |")
    print("|---|---|---|---|---|---|---|---|", *rows, sep="\n")


if __name__ == "__main__":
    main()
