"""What the face tracker costs beside the bare face mesh, on the same pictures in one thread each.

    python -m benchmarks.tracker_cost CLIP ... [--repeats 5]

The bare meshes are MediaPipe's `FaceMesh` with irises, for as many faces as ours finds at a time,
once looking for them in every picture (``static_image_mode``) and once following them from picture
to picture. Ours is all that
`FaceTracker` makes of a clip's pictures for the model: faces, meshes, columns; and, for
`preprocessing.openface`, with every column of OpenFace's. Counted is the time of processors, of all
threads together. The ways take turns, clip by clip, and the ratio of each turn is taken before the
median, so that what else the machine does meets all alike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.clip import DecodeLimits, Frame
from preprocessing.decode import ClipReader
from preprocessing.face import FaceTracker
from preprocessing.mediapipe_quietly import face_mesh, quiet
from preprocessing.schema import PICTURES_PER_SECOND


def seconds_each(frames: Sequence[Frame], repeats: int) -> dict[str, NDArray[np.float64]]:
    """(repeats,) processor seconds for the pictures by each way."""
    tracker = FaceTracker()
    rate = PICTURES_PER_SECOND
    most = max(len(rows) for rows in tracker.rows(frames, pictures_per_second=rate))
    with quiet():
        looking, following = (
            face_mesh.FaceMesh(static_image_mode=still, max_num_faces=most, refine_landmarks=True)
            for still in (True, False)
        )
        for bare in (looking, following):
            bare.process(frames[0].rgb)
    ways: dict[str, Callable[[], object]] = {
        "tracker": lambda: list(tracker.rows(frames, pictures_per_second=rate, complete=False)),
        "tracker, every column": lambda: list(tracker.rows(frames, pictures_per_second=rate)),
        "bare mesh, looking": lambda: [looking.process(frame.rgb) for frame in frames],
        "bare mesh, following": lambda: [following.process(frame.rgb) for frame in frames],
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.process_time()
            way()
            spent[name].append(time.process_time() - started)
    return {name: np.array(times) for name, times in spent.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print milliseconds a picture and the tracker's ratio to each bare mesh, a clip a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracker_cost", description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    for clip in options.clips:
        frames = list(ClipReader(clip, DecodeLimits()).frames(PICTURES_PER_SECOND))
        found = seconds_each(frames, options.repeats)
        print(f"{clip.name}, {len(frames)} pictures of {frames[0].rgb.shape[1::-1]}:")
        for name, seconds in found.items():
            ratio = np.median(found["tracker"] / seconds)
            milliseconds = 1000 * np.median(seconds) / len(frames)
            print(f"  {name:22}{milliseconds:6.1f} ms a picture, the tracker takes x{ratio:.2f}")


if __name__ == "__main__":
    main()
