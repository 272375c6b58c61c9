"""Heads of known geometry, and the real OpenFace files where there are any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from preprocessing.geometry import (
    JAW_FACE,
    JAW_VERTICES,
    RIGID_FACE,
    RIGID_VERTICES,
    VERTICES,
    Camera,
    Head,
)

REAL_OPENFACE = Path(__file__).parents[2] / ".." / "shared" / "openface"
CAMERA = Camera(fx=500.0, fy=500.0, cx=320.0, cy=240.0)
ANGLES = (0.11, -0.23, 0.07)
TRANSLATION = (17.0, -29.0, 610.0)


def head_points() -> NDArray[np.float64]:
    """(478, 3) mm in head axes: rigid points and jaw in place, the others anywhere before."""
    points = np.random.default_rng(3).uniform((-40, -60, -30), (40, 80, 20), (VERTICES, 3))
    points[RIGID_VERTICES] = RIGID_FACE
    points[JAW_VERTICES] = JAW_FACE
    return points


def head_mesh(
    angles: tuple[float, float, float] = ANGLES,
    translation: tuple[float, float, float] = TRANSLATION,
) -> NDArray[np.float64]:
    """(478, 3) px as a pinhole camera sees `head_points`; z in px at the head's distance."""
    turned = head_points() @ Rotation.from_euler("XYZ", angles).as_matrix().T + translation
    pixels = CAMERA.fx * turned[:, :2] / turned[:, 2:] + (CAMERA.cx, CAMERA.cy)
    return np.column_stack([pixels, turned[:, 2] * CAMERA.fx / translation[2]])


def flat_head(scale: float = 1.3) -> Head:
    """A head seen without perspective: mesh = scale * rotation @ points + (100, 80, 0)."""
    rotation = Rotation.from_euler("XYZ", ANGLES).as_matrix()
    return Head(scale * head_points() @ rotation.T + (100.0, 80.0, 0.0), CAMERA)
