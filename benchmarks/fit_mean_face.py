"""Fit `preprocessing/mean_face.json`: ``python -m benchmarks.fit_mean_face``.

The mean shape that faces are aligned to before their shape becomes features: generalised Procrustes
analysis (Gower 1975) of FER2013's training pictures, made symmetric.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from preprocessing.corpora import fer2013
from preprocessing.face import FaceTracker, enlarge_small_still
from preprocessing.face_shape import INNER, MEAN_FACE, align
from preprocessing.openface_columns import points

Array = NDArray[np.float64]

EYE_SPAN_MM = 90.0
"""Distance of the outer corners of the eyes, as OpenFace's model has it."""

# fmt: off
MIRROR = (
    26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)
"""The point of iBUG 300-W that lies opposite each of the points 17 to 67."""
# fmt: on


def mean_face(shapes: Array) -> Array:
    """(51, 3) mm: symmetric mean of (n, 51, 3) shapes in any pose, position and scale."""
    mean = shapes[0] - shapes[0].mean(0)
    for _ in range(5):
        mean = align(shapes, mean).mean(0)
        mirrored = mean[np.array(MIRROR) - INNER[0]] * (-1, 1, 1)
        mean = (mean + align(mirrored[None], mean)[0]) / 2
        mean *= EYE_SPAN_MM / np.linalg.norm(mean[45 - INNER[0]] - mean[36 - INNER[0]])
    # Upright: the line of the eyes' outer corners is level, the midline has no sideways part.
    across = mean[45 - INNER[0]] - mean[36 - INNER[0]]
    down = mean[57 - INNER[0]] - mean[27 - INNER[0]]
    x = across / np.linalg.norm(across)
    y = down - (down @ x) * x
    y /= np.linalg.norm(y)
    upright: Array = (mean - mean.mean(0)) @ np.stack([x, y, np.cross(x, y)], axis=1)
    return upright


def main() -> None:
    """Fit from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit_mean_face", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--pictures", type=int, default=2000)
    options = parser.parse_args()
    items = [item for item in fer2013(options.data) if item.split == "train" and item.picture]
    chosen = np.random.default_rng(1).permutation(len(items))[: options.pictures]
    shapes = []
    with FaceTracker() as tracker:
        for index in tqdm(chosen, desc="faces", disable=None):
            encoded = np.frombuffer(items[index].picture or b"", np.uint8)
            grey = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)
            found = tracker.analyse_still(enlarge_small_still(grey))
            if found.frames_with_face:
                shapes.append(points(found.values, "", "XYZ")[0, INNER[0] :])
    mean = mean_face(np.array(shapes, np.float64))
    MEAN_FACE.write_text(json.dumps(mean.round(2).tolist()) + "\n")
    print(f"{MEAN_FACE}: mean of {len(shapes)} faces")


if __name__ == "__main__":
    main()
