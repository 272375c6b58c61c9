"""The 714 columns of an OpenFace 2.x CSV by name: order, groups and units.

After OpenFace 2.x (Baltrušaitis et al., FG 2018), whose FeatureExtraction writes them in this order
when every block is asked for. The names are generated from `GROUPS`; nothing is taken by position.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from preprocessing.schema import ACTION_UNITS

EYE_POINTS = 56
"""28 points an eye, the eye on the left of the picture first: 8 on the limbus (iris's outer edge),
12 along the lids, 8 on the pupil's edge."""

FACE_POINTS = 68
"""The points of the iBUG 300-W scheme (Sagonas et al. 2013)."""

SHAPE_PARAMETERS = 34
"""Non-rigid parameters of OpenFace's point distribution model."""


@dataclass(frozen=True, slots=True)
class Group:
    """Columns that belong together.

    Attributes:
        name: what the group holds.
        unit: unit and range of its values.
        columns: names in OpenFace's order.
    """

    name: str
    unit: str
    columns: tuple[str, ...]


def _points(prefixes: Iterable[str], count: int) -> tuple[str, ...]:
    """All points' first coordinate, then all points' second: OpenFace's order."""
    return tuple(f"{prefix}_{i}" for prefix in prefixes for i in range(count))


GROUPS: tuple[Group, ...] = (
    Group("frame", "number from 1", ("frame",)),
    Group("face_id", "number from 0", ("face_id",)),
    Group("timestamp", "s", ("timestamp",)),
    Group("confidence", "0-1", ("confidence",)),
    Group("success", "0 or 1", ("success",)),
    Group(
        "gaze",
        "unit vectors in camera axes",
        tuple(f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in "xyz"),
    ),
    Group("gaze_angle", "rad", ("gaze_angle_x", "gaze_angle_y")),
    Group("eye_2d", "px", _points(("eye_lmk_x", "eye_lmk_y"), EYE_POINTS)),
    Group("eye_3d", "mm", _points(("eye_lmk_X", "eye_lmk_Y", "eye_lmk_Z"), EYE_POINTS)),
    Group("pose_translation", "mm", ("pose_Tx", "pose_Ty", "pose_Tz")),
    Group("pose_rotation", "rad", ("pose_Rx", "pose_Ry", "pose_Rz")),
    Group("landmarks_2d", "px", _points("xy", FACE_POINTS)),
    Group("landmarks_3d", "mm", _points("XYZ", FACE_POINTS)),
    Group(
        "shape_rigid",
        "px/mm, rad, px",
        ("p_scale", "p_rx", "p_ry", "p_rz", "p_tx", "p_ty"),
    ),
    Group(
        "shape_non_rigid",
        "coefficients of OpenFace's own shape model",
        tuple(f"p_{i}" for i in range(SHAPE_PARAMETERS)),
    ),
    Group("au_intensity", "0-5", tuple(f"AU{unit}_r" for unit in ACTION_UNITS)),
    Group(
        "au_presence",
        "0 or 1",
        tuple(f"AU{unit}_c" for unit in sorted((*ACTION_UNITS, "28"))),
    ),
)
"""All groups in the file's order."""

COLUMNS: tuple[str, ...] = tuple(name for group in GROUPS for name in group.columns)
"""The 714 names in OpenFace's order."""

INDEX = MappingProxyType({name: position for position, name in enumerate(COLUMNS)})
"""Position of each name in `COLUMNS`."""

UNIT = MappingProxyType({name: group.unit for group in GROUPS for name in group.columns})
"""Unit and range of each column."""


def group(name: str) -> Group:
    """Find a group by name.

    Raises:
        KeyError: no group is called so.
    """
    for candidate in GROUPS:
        if candidate.name == name:
            return candidate
    raise KeyError(f"No group of OpenFace columns is called {name!r}.")


def indices(names: Iterable[str]) -> NDArray[np.intp]:
    """Positions of columns by name, to index the last axis of a (rows, 714) array.

    Raises:
        KeyError: a name is no OpenFace column.
    """
    return np.array([INDEX[name] for name in names], dtype=np.intp)


def points(values: NDArray[np.float32], prefix: str, axes: str) -> NDArray[np.float32]:
    """Landmarks as points: (rows, 714) to (rows, points, axes).

    Args:
        values: rows with all columns.
        prefix: ``""`` for the 68 points of the face, ``"eye_lmk_"`` for the 56 of the eyes.
        axes: ``"xy"`` (px) or ``"XYZ"`` (mm).
    """
    count = EYE_POINTS if prefix else FACE_POINTS
    names = _points([prefix + axis for axis in axes], count)
    return (
        values[..., indices(names)].reshape(*values.shape[:-1], len(axes), count).swapaxes(-1, -2)
    )


def empty_rows(rows: int) -> NDArray[np.float32]:
    """(rows, 714) rows without a face: everything NaN, success and confidence 0."""
    values = np.full((rows, len(COLUMNS)), np.nan, np.float32)
    values[:, indices(("face_id", "confidence", "success"))] = 0
    return values
