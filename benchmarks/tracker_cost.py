"""What the face tracker costs beside the bare face mesh, on the same pictures in one thread each.

    python -m benchmarks.tracker_cost CLIP ... [--repeats 3]

The bare meshes are MediaPipe's `FaceMesh` with irises, once looking for the face in every picture
(``static_image_mode``) and once following it, which our tracker does not do (`preprocessing.face`
says why). Ours is everything that `FaceTracker` makes of a picture: faces, mesh, 714 columns. The
three take turns picture by picture, so that what else the machine does meets all alike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from preprocessing.clip import DecodeLimits, Frame
from preprocessing.decode import ClipReader
from preprocessing.face import FaceTracker
from preprocessing.mediapipe_quietly import face_mesh, quiet
from preprocessing.schema import STEPS_PER_SECOND


def seconds_each(frames: Sequence[Frame], repeats: int) -> dict[str, float]:
    """Seconds a picture (the median over pictures and repeats) of each way."""
    tracker = FaceTracker()
    with quiet():
        looking = face_mesh.FaceMesh(static_image_mode=True, max_num_faces=1, refine_landmarks=True)
        following = face_mesh.FaceMesh(max_num_faces=1, refine_landmarks=True)
        ways: dict[str, Callable[[Frame], object]] = {
            "tracker": lambda frame: list(tracker.rows([frame], steps_per_second=1)),
            "bare mesh, looking": lambda frame: looking.process(frame.rgb),
            "bare mesh, following": lambda frame: following.process(frame.rgb),
        }
        for way in ways.values():
            way(frames[0])
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for frame in frames:
            for name, way in ways.items():
                started = time.perf_counter()
                way(frame)
                spent[name].append(time.perf_counter() - started)
    return {name: float(np.median(times)) for name, times in spent.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print milliseconds a picture and the tracker's ratio to each bare mesh, a clip a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracker_cost", description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    for clip in options.clips:
        frames = list(ClipReader(clip, DecodeLimits()).frames(STEPS_PER_SECOND))
        found = seconds_each(frames, options.repeats)
        print(f"{clip.name}, {len(frames)} pictures:")
        for name, value in found.items():
            ratio = found["tracker"] / value
            print(f"  {name:22}{1000 * value:6.1f} ms, the tracker takes {ratio:.2f} times that")


if __name__ == "__main__":
    main()
