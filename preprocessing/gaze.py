"""Where the eyes look, and OpenFace's 28 points an eye, from the irises of the mesh.

The eyeball is a sphere that sits in the head behind the corners of the eye; the direction from its
centre through the point where the ray of the iris's centre meets it is what the iris tells (Wood et
al., ICCV 2015). OpenFace's gaze is what the iris tells, damped towards the camera: see
`IRIS_SHARE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.geometry import Camera, Head

Array = NDArray[np.float64]

EYEBALL_RADIUS_MM: Final = 12.0
"""Radius of a grown-up's eyeball."""

EYEBALL_OFFSET_MM: Final = np.array([0.0, -1.9, 9.4])
"""From the middle between the corners of the eye to the eyeball's centre, in head axes. The height
is fitted to OpenFace's mean gaze on icface_00116, the one pair at hand that has a gaze."""

EYE_MODEL_SCALE: Final = 0.845
"""OpenFace fits a model of the eye apart from that of the face, and the two disagree on the scale:
its eye landmarks are nearer to the camera by this factor (icface_00116)."""

IRIS_SHARE: Final = 0.3
"""How far OpenFace's gaze leaves the camera for what the iris tells, both eyes alike. Its eyes look
at the camera, each along its own ray, so that they converge by 14 degrees where the camera seems to
be 25 cm away, and move a third as far as the iris's centre says. Fitted on icface_00116, the one
pair at hand that has a gaze: mean error 2.1 degrees, and 10.4 undamped."""

PUPIL_SHARE: Final = 0.43
"""Radius of the pupil as a share of the iris's: OpenFace's eye model has a fixed pupil."""


@dataclass(frozen=True, slots=True)
class EyeVertices:
    """Mesh vertices of one eye; lids run from the picture's left corner to the right."""

    upper: tuple[int, ...]
    lower: tuple[int, ...]
    iris: int
    ring: tuple[int, ...]


EYES: Final = (
    EyeVertices(
        (33, 246, 161, 160, 159, 158, 157, 173, 133),
        (33, 7, 163, 144, 145, 153, 154, 155, 133),
        468,
        (469, 470, 471, 472),
    ),
    EyeVertices(
        (362, 398, 384, 385, 386, 387, 388, 466, 263),
        (362, 382, 381, 380, 374, 373, 390, 249, 263),
        473,
        (474, 475, 476, 477),
    ),
)
"""The eye on the left of the picture, then the other."""


@dataclass(frozen=True, slots=True)
class Gaze:
    """What both eyes tell.

    Attributes:
        vectors: (2, 3) unit vectors, camera axes.
        angles: (2,) rad, left-right and up-down of the mean of both vectors.
        points: (56, 2) px.
        points_mm: (56, 3) mm, camera axes.
    """

    vectors: Array
    angles: Array
    points: Array
    points_mm: Array


def gaze(head: Head) -> Gaze:
    """Gaze and eye landmarks of a head."""
    eyes = [_eye(head, vertices) for vertices in EYES]
    told = _angles(np.array([vector for vector, _, _, _ in eyes]))
    to_camera = _angles(-np.array([socket for _, _, _, socket in eyes]))
    vectors = _unit(to_camera + IRIS_SHARE * (told - to_camera).mean(0))
    return Gaze(
        vectors,
        gaze_angles(vectors),
        np.vstack([points for _, points, _, _ in eyes]),
        np.vstack([points_mm for _, _, points_mm, _ in eyes]),
    )


def gaze_angles(vectors: Array) -> Array:
    """(2, 3) gaze vectors to OpenFace's two angles (rad); 0, 0 looks along the camera's axis."""
    angles: Array = _angles(vectors.mean(0))
    return angles


def _angles(vectors: Array) -> Array:
    """(..., 3) directions to (..., 2) rad, left-right and up-down of the way to the camera."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.stack([np.arctan2(x, -z), np.arctan2(y, -z)], axis=-1)


def _unit(angles: Array) -> Array:
    """(..., 2) rad to (..., 3) unit vectors: `_angles` backwards."""
    x, y = np.moveaxis(np.tan(angles), -1, 0)
    vectors = np.stack([x, y, -np.ones_like(x)], axis=-1)
    unit: Array = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def _eye(head: Head, eye: EyeVertices) -> tuple[Array, Array, Array, Array]:
    """What the iris tells (3,), points (28, 2) px and (28, 3) mm, and the socket (3,) mm."""
    mesh = head.mesh
    corners = mesh[[eye.upper[0], eye.upper[-1]]].mean(0, keepdims=True)
    socket = head.camera.unproject(corners[:, :2], _depth(head, corners))[0]
    centre = socket + head.pose[0] @ EYEBALL_OFFSET_MM
    iris = mesh[eye.iris, :2]
    front = _meet(head.camera, iris, centre)
    vector = (front - centre) / np.linalg.norm(front - centre)

    radius = np.linalg.norm(mesh[list(eye.ring), :2] - iris, axis=1).mean()
    turns = np.arange(8) * np.pi / 4
    # OpenFace numbers the limbus from the left over the top, the pupil from the lower left back.
    limbus = iris + radius * np.column_stack([-np.cos(turns), -np.sin(turns)])
    turns = 3 * np.pi / 4 - turns
    pupil = iris + PUPIL_SHARE * radius * np.column_stack([np.cos(turns), np.sin(turns)])
    lids = _lids(mesh, eye)
    lids_mm = head.camera.unproject(lids[:, :2], _depth(head, lids))
    return (
        vector,
        np.vstack([limbus, lids[:, :2], pupil]),
        np.vstack(
            [
                head.camera.unproject(limbus, front[2]),
                lids_mm,
                head.camera.unproject(pupil, front[2]),
            ]
        ),
        socket,
    )


def _depth(head: Head, points: Array) -> Array:
    """(n,) mm of mesh points (n, 3), in the scale of OpenFace's eye model."""
    return EYE_MODEL_SCALE * head.depth(points[:, 2])


def _meet(camera: Camera, pixel: Array, centre: Array) -> Array:
    """(3,) mm: where the ray of a pixel first meets the eyeball, or its nearest point to it."""
    ray = camera.unproject(pixel[None], 1.0)[0]
    ray /= np.linalg.norm(ray)
    along = ray @ centre
    miss = centre @ centre - along**2
    meet: Array = ray * (along - np.sqrt(max(EYEBALL_RADIUS_MM**2 - miss, 0.0)))
    return meet


def _lids(mesh: Array, eye: EyeVertices) -> Array:
    """(12, 3) px: corner, 5 of the upper lid, corner, 5 of the lower lid backwards."""
    upper, lower = mesh[list(eye.upper)], mesh[list(eye.lower)]
    steps = np.linspace(0, len(eye.upper) - 1, 7)
    known = np.arange(len(eye.upper))
    even = [
        np.column_stack([np.interp(steps, known, lid[:, axis]) for axis in range(3)])
        for lid in (upper, lower)
    ]
    return np.vstack([even[0], even[1][5:0:-1]])
