"""Meshes of faces as rows of OpenFace's 714 columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preprocessing import action_units
from preprocessing.clip import Frame
from preprocessing.gaze import gaze
from preprocessing.geometry import Camera, Head
from preprocessing.openface_columns import INDEX, empty_rows, group, indices
from preprocessing.sight import Sight

Rows = NDArray[np.float32]

UNSUPPORTED_COLUMNS: Final = (*group("shape_non_rigid").columns, "AU28_c")
"""Always NaN: they need OpenFace's own shape model (p_0..p_33) or its appearance model (AU28_c)."""

_INTENSITIES: Final = indices(action_units.INTENSITIES)

MODEL_COLUMNS: Final = (
    *("frame", "face_id", "timestamp", "confidence", "success", "p_scale"),
    *group("landmarks_3d").columns,
    *group("au_intensity").columns,
)
"""What features for the model and the choice among several faces are made of."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture that has been looked at, without its pixels.

    Attributes:
        index: its number in the stream, from 0.
        seconds: since the first picture of the stream.
        scale: original pixels per pixel.
        size: width and height of the original (px).
        faces: that are in it; their meshes are in the picture's own pixels.
    """

    index: int
    seconds: float
    scale: float
    size: tuple[float, float]
    faces: Sequence[Sight]

    @classmethod
    def of(cls, frame: Frame, faces: Sequence[Sight]) -> Self:
        """What is kept of a picture and the faces in it."""
        height, width = frame.rgb.shape[:2]
        size = width * frame.scale, height * frame.scale
        return cls(frame.index, frame.seconds, frame.scale, size, faces)


def rows_of(
    pictures: Sequence[Seen], *, camera: Camera | None = None, complete: bool = True
) -> list[Rows]:
    """Rows of the faces of some pictures, action units not yet settled, faces not yet numbered.

    Args:
        pictures: that have been looked at.
        camera: that took them; None = OpenFace's guess.
        complete: every column that there is an estimate for; else `MODEL_COLUMNS` alone.

    Returns:
        (faces, 714) a picture; one row without a face where none was found.
    """
    found, heads = [], []
    for picture in pictures:
        rows = empty_rows(max(1, len(picture.faces)))
        rows[:, INDEX["frame"]] = picture.index + 1
        rows[:, INDEX["timestamp"]] = picture.seconds
        for row, face in zip(rows, picture.faces, strict=False):
            head = Head(face.mesh * picture.scale, camera or Camera.default(*picture.size))
            _fill(row, face, head, complete=complete)
            heads.append((row, head))
        found.append(rows)
    if heads:
        # All at once: one face alone costs ten times its share.
        estimates = action_units.estimates(np.stack([head.frontal for _, head in heads]))
        for (row, _), estimate in zip(heads, estimates, strict=True):
            row[_INTENSITIES] = estimate
    return found


def _fill(row: Rows, sight: Sight, head: Head, *, complete: bool) -> None:
    blocks: dict[str, ArrayLike] = {
        "confidence": sight.box.score,
        "success": 1,
        "landmarks_3d": head.points_mm.T,
    }
    if complete:
        blocks |= _blocks_of_openface(head)
    for name, block in blocks.items():
        columns = group(name).columns
        row[INDEX[columns[0]] : INDEX[columns[-1]] + 1] = np.ravel(block)
    row[INDEX["p_scale"]] = head.similarity[0]


def _blocks_of_openface(head: Head) -> dict[str, ArrayLike]:
    """What the model does not go by: gaze, eyes, pose and the picture's own landmarks."""
    eyes = gaze(head)
    scale, _, offset = head.similarity
    return {
        "gaze": eyes.vectors,
        "gaze_angle": eyes.angles,
        "eye_2d": eyes.points.T,
        "eye_3d": eyes.points_mm.T,
        "pose_translation": head.pose[1],
        "pose_rotation": head.pose_angles,
        "landmarks_2d": head.points[:, :2].T,
        "shape_rigid": (scale, *head.shape_angles, *offset[:2]),
    }
