"""The shape of the inner face without pose, place and size, from OpenFace's 3D landmarks.

Action units are what OpenFace's users know; a smile is told from other faces better with the shape
beside them. It is computed from named columns of OpenFace's (``X_17`` to ``Z_67``), so that it is
there for the built-in tracker and for an uploaded CSV alike.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.openface_columns import FACE_POINTS, points

Array = NDArray[np.float64]

INNER: Final = range(17, FACE_POINTS)
"""Brows, nose, eyes and mouth of the 68 points; without the jaw, which hair and hands hide."""

MEAN_FACE: Final = Path(__file__).with_name("mean_face.json")
"""(51, 3) mm, axes of the camera, written by ``python -m benchmarks.fit_mean_face``."""


def align(shapes: Array, mean: Array) -> Array:
    """Turn, move and scale each shape onto the mean (Umeyama 1991, without reflection).

    Args:
        shapes: (n, points, 3) in any unit.
        mean: (points, 3) mm.

    Returns:
        (n, points, 3) mm, centred where `mean` is.
    """
    centre = mean.mean(0)
    centred, target = shapes - shapes.mean(1, keepdims=True), mean - centre
    left, stretch, right = np.linalg.svd(np.einsum("nki,kj->nij", centred, target))
    flip = np.ones((len(shapes), 3))
    flip[:, 2] = np.sign(np.linalg.det(left @ right))
    rotation = (left * flip[:, None]) @ right
    scale = (stretch * flip).sum(1) / np.maximum((centred**2).sum((1, 2)), 1e-12)
    aligned: Array = scale[:, None, None] * (centred @ rotation) + centre
    return aligned


def shape_rows(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The columns ``face_x_17`` to ``face_y_67`` (mm) of OpenFace rows.

    Args:
        values: (rows, 714).

    Returns:
        (rows, 102): all x, then all y, right and down as in the picture; NaN where a row lacks the
        3D landmarks, as in a CSV written without them.
    """
    landmarks = points(values, "", "XYZ")[:, INNER[0] :].astype(np.float64)
    known = np.isfinite(landmarks).all((1, 2))
    rows = np.full((len(values), 2 * len(INNER)), np.nan, np.float32)
    aligned = align(landmarks[known], _mean_face())
    rows[known] = aligned[..., :2].swapaxes(1, 2).reshape(-1, rows.shape[1])
    return rows


@cache
def _mean_face() -> Array:
    return np.array(json.loads(MEAN_FACE.read_text("utf-8")))
