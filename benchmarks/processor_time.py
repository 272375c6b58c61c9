"""Processor time of each part of a clip's features, one after the other in one process.

``python -m benchmarks.processor_time`` (half a minute). Processor time, unlike wall time, bears a
machine that does other things; clips of ten seconds, milliseconds of one core, the least of three.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from benchmarks.speed_clips import SIZES, speed_clip
from preprocessing import audio
from preprocessing.clip import DecodeLimits, Frame, Sound
from preprocessing.decode import read_frames, read_sound
from preprocessing.face_rows import Seen, rows_of
from preprocessing.schema import FOLLOWED_SECONDS, PICTURES_PER_SECOND
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


def followed(frames: Sequence[Frame], graphs: FaceGraphs) -> list[Seen]:
    """The faces of each picture, as `FaceTracker` finds them."""
    found: list[Seen] = []
    looked = -FOLLOWED_SECONDS
    for frame in frames:
        anew = frame.seconds >= looked + FOLLOWED_SECONDS
        faces = graphs.follow(frame.rgb, () if anew else found[-1].faces)
        looked = frame.seconds if anew else looked
        found.append(Seen.of(frame, faces))
    return found


def row(lines: int, graphs: FaceGraphs) -> str:
    """One clip's costs."""
    clip, limits = speed_clip(SECONDS, lines).read_bytes(), DecodeLimits()
    frames, decode = cost(lambda: list(read_frames(clip, limits, PICTURES_PER_SECOND)))
    seen, look = cost(lambda: followed(frames, graphs))
    _, rows = cost(lambda: rows_of(seen, complete=False))
    _, every = cost(lambda: rows_of(seen))
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
