"""From the 478 vertices of MediaPipe's face mesh to OpenFace's pose, landmarks and gaze.

Axes are the camera's: x right, y down, z away from the camera. A mesh is (478, 3) float64 in pixels
of the original picture, z in the same scale with an arbitrary origin. "Left" is the picture's left.

The head's axes have the same directions when it faces the camera, with the origin OpenFace uses:
about 6 mm before and 38 mm below the middle of the outer corners of the eyes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

VERTICES = 478
"""Vertices of a mesh: 468 of the face, then 5 of each iris."""

# fmt: off
FACE_POINTS: Final[tuple[tuple[int, ...], ...]] = (
    (127,), (234,), (93,), (132, 58), (58, 172), (136,), (149,), (148,), (152,),       # jaw, left
    (377,), (378,), (365,), (397, 288), (361,), (323,), (454,), (356,),                # jaw, right
    (70,), (63,), (105,), (66,), (107,), (336,), (296,), (334,), (293,), (300,),       # brows
    (168,), (197,), (195,), (4,), (75,), (97,), (2,), (326,), (305,),                  # nose
    (33,), (160,), (158,), (133,), (153,), (144,),                                     # left eye
    (362,), (385,), (387,), (263,), (373,), (380,),                                    # right eye
    (61,), (39,), (37,), (0,), (267,), (269,), (291,), (321,), (314,), (17,), (84,), (91,),
    (78,), (82,), (13,), (312,), (308,), (317,), (14,), (87,),                         # inner lip
)
"""The 68 points of iBUG 300-W; two vertices mean their midpoint.

Vertex numbers as published by PeizhiYan/Mediapipe_2_Dlib_Landmarks (current and widespread form),
cosanlab/py-feat (blendshape_to_au.py), facefusion issue 549 and one unnamed repository. They differ
on jaw, nose and outer lip: for each mirrored pair of points the variant that lies closest to real
OpenFace output is taken (mean error 2.9 % of the distance of the outer corners of the eyes)."""

# fmt: on
_POINT_PAIRS: Final = np.array([(vertices[0], vertices[-1]) for vertices in FACE_POINTS])

# fmt: off
_MIDLINE: Final = {
    10: (-90.3, -9.6), 151: (-74.8, -13.8), 9: (-58.5, -16.9), 8: (-49.9, -15.9),
    168: (-41.9, -15.8), 6: (-33.9, -20.3), 197: (-26.7, -25.5), 195: (-19.9, -31.1),
    5: (-12.7, -36.9), 4: (-4.0, -39.5), 1: (2.7, -37.6), 19: (6.0, -34.5), 94: (7.5, -26.7),
    2: (9.0, -22.4),
}
_SIDES: Final = {
    (33, 263): (45.0, -38.0, 6.0), (133, 362): (17.7, -36.5, 0.5),
    (127, 356): (70.2, -33.1, 55.5), (234, 454): (69.6, -18.4, 59.6),
    (98, 327): (17.3, 7.0, -14.3), (129, 358): (21.1, 0.1, -10.5),
    (21, 251): (65.8, -60.8, 33.5), (54, 284): (59.8, -72.3, 21.7),
    (103, 332): (50.0, -81.4, 9.2), (67, 297): (35.1, -87.2, -1.7),
    (109, 338): (19.0, -89.8, -8.0), (162, 389): (69.0, -48.4, 45.9),
    (116, 345): (63.5, -20.2, 18.0), (143, 372): (62.3, -33.4, 20.3),
    (35, 265): (57.1, -34.5, 14.2), (188, 412): (9.7, -28.6, -14.4),
    (122, 351): (5.8, -32.3, -18.0),
}
# fmt: on
RIGID_VERTICES: Final = np.array([*_MIDLINE, *(v for pair in _SIDES for v in pair)])
"""Vertices that expressions hardly move: forehead, temples, corners of the eyes, nose."""

RIGID_FACE: Final[Array] = np.array(
    [(0.0, y, z) for y, z in _MIDLINE.values()]
    + [(side * x, y, z) for x, y, z in _SIDES.values() for side in (-1, 1)]
)
"""(48, 3) mean position of `RIGID_VERTICES` in a head (mm, head axes).

The mean of meshes of some 300 people (FER2013 and the project's test clips), aligned by rotation,
translation and scale, made symmetric; outer corners of the eyes 90 mm apart as OpenFace has them,
and turned in pitch so that a pose of zero is OpenFace's."""

_MIDDLE_OF_FACE: Final[Array] = RIGID_FACE.mean(0)
_CENTRED_FACE: Final[Array] = RIGID_FACE - _MIDDLE_OF_FACE
_SPREAD: Final = float(np.sum(_CENTRED_FACE**2))


_JAW: Final = {
    (93, 323): (68.7, -4.1, 59.4), (136, 365): (48.5, 50.7, 29.2),
    (149, 378): (31.5, 64.9, 13.6), (148, 377): (13.0, 73.6, 1.7), (152,): (0.0, 74.9, -0.1),
}  # fmt: skip
JAW_VERTICES: Final = np.array([vertex for pair in _JAW for vertex in pair])
"""Vertices of the jaw's outline, which speech moves a little."""

JAW_FACE: Final[Array] = np.array(
    [
        (side * x, y, z)
        for pair, (x, y, z) in _JAW.items()
        for side in ((-1, 1) if len(pair) == 2 else (1,))
    ]
)
"""(9, 3) mean position of `JAW_VERTICES` in a head (mm, head axes).

Midway between that of FER2013's pictures and that of the test clips."""

CHIN_VERTICES: Final = JAW_VERTICES[-5:]
"""The lowest of the jaw's vertices."""

_CHIN_DEPTH_MM: Final = float(JAW_FACE[-5:, 2].mean())

NOD_DEGREES_PER_MM: Final = 0.38
"""How far OpenFace's head is bowed beyond what a picture's outlines say, for every mm by which the
mesh has the chin deeper in the head than the mean face has it.

The mesh's own depth tells of the pitch what outlines leave open. OpenFace's pitch less ours grows
by .43 degrees a mm on icface_00116 and by .33 on openface_default; fitted to either alone it raises
the other's correlation, from .84 to .89 and from .92 to .94."""

_POSED: Final = np.concatenate([RIGID_VERTICES, JAW_VERTICES, JAW_VERTICES])
_POSED_FACE: Final[Array] = np.concatenate([RIGID_FACE, JAW_FACE, JAW_FACE])


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera without distortion; all in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def default(cls, width: float, height: float) -> Camera:
        """OpenFace's guess for a picture of this size (px) when no camera is given."""
        focal = (500 * width / 640 + 500 * height / 480) / 2
        return cls(focal, focal, width / 2, height / 2)

    @property
    def matrix(self) -> Array:
        """(3, 3) intrinsic matrix."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]])

    def unproject(self, pixels: Array, depth: Array | float) -> Array:
        """(n, 2) px at these depths (mm, scalar or (n,)) to (n, 3) mm in camera axes."""
        depths = np.broadcast_to(depth, len(pixels))
        rays = (pixels - (self.cx, self.cy)) / (self.fx, self.fy)
        return np.column_stack([rays * depths[:, None], depths])


@dataclass(frozen=True)
class Head:
    """One face in one picture: everything OpenFace reports about its geometry.

    Attributes:
        mesh: (478, 3) px.
        camera: of the original picture.
    """

    mesh: Array
    camera: Camera

    @cached_property
    def pose(self) -> tuple[Array, Array]:
        """Rotation (3, 3) head to camera and translation (3,) of the head's origin in mm.

        Perspective-n-point (SQPnP, Terzakis & Lourakis 2020; then Levenberg-Marquardt) of
        `RIGID_FACE` and, counted twice, `JAW_FACE` on the mesh's picture coordinates. OpenFace
        goes by all landmarks: with the jaw, translation correlates with its by .96 and more on
        each axis of both pairs that have one, without by .87.
        """
        points = np.ascontiguousarray(self.mesh[_POSED, :2])
        model, camera = _POSED_FACE, self.camera.matrix
        _, rotation, translation = cv2.solvePnP(
            model, points, camera, None, flags=cv2.SOLVEPNP_SQPNP
        )
        rotation, translation = cv2.solvePnPRefineLM(
            model, points, camera, None, rotation, translation
        )
        matrix: Array = Rotation.from_rotvec(rotation.ravel()).as_matrix()
        return matrix, np.array(translation, np.float64).ravel()

    @cached_property
    def bowed(self) -> Array:
        """(3, 3) the pose's rotation, turned about the head's own x by `NOD_DEGREES_PER_MM`."""
        deeper = self.frontal[CHIN_VERTICES, 2].mean() - _CHIN_DEPTH_MM
        nod = Rotation.from_euler("x", NOD_DEGREES_PER_MM * deeper, degrees=True)
        bowed: Array = self.pose[0] @ nod.as_matrix()
        return bowed

    @property
    def pose_angles(self) -> Array:
        """(3,) rad of `bowed`: R = Rx(a) Ry(b) Rz(c)."""
        return euler_angles(self.bowed)

    @property
    def shape_angles(self) -> Array:
        """(3,) rad, p_rx to p_rz: the pose as a camera aimed at the head would see it.

        OpenFace's shape model knows no perspective, so that it takes a head beside the camera's
        axis to be turned by the angle of the ray to it.
        """
        translation = self.pose[1]
        ray = translation / np.linalg.norm(translation)
        axis = np.cross(ray, (0.0, 0.0, 1.0))
        sine = np.linalg.norm(axis)
        aim = Rotation.from_rotvec(axis * (np.arcsin(sine) / sine if sine else 0.0))
        return euler_angles(aim.as_matrix() @ self.bowed)

    @cached_property
    def similarity(self) -> tuple[float, Array, Array]:
        """Weak perspective: scale (px/mm), rotation (3, 3) head to camera, translation (3,) px.

        mesh = scale * rotation @ head + translation, least squares over the rigid vertices
        (Kabsch 1976, Umeyama 1991).
        """
        points = self.mesh[RIGID_VERTICES]
        middle = points.mean(0)
        # What scipy's align_vectors does, without its checks: they take twice the time of the rest.
        turn, stretch, back = np.linalg.svd((points - middle).T @ _CENTRED_FACE)
        if np.linalg.det(turn) * np.linalg.det(back) < 0:
            turn[:, 2] *= -1
            stretch[2] *= -1
        rotation: Array = turn @ back
        scale = float(stretch.sum()) / _SPREAD
        return scale, rotation, middle - scale * rotation @ _MIDDLE_OF_FACE

    @cached_property
    def frontal(self) -> Array:
        """(478, 3) mm in head axes: the mesh without pose and scale."""
        scale, rotation, translation = self.similarity
        frontal: Array = (self.mesh - translation) @ rotation / scale
        return frontal

    @cached_property
    def points(self) -> Array:
        """(68, 3) px: the mesh at `FACE_POINTS`; x and y are OpenFace's 2D landmarks."""
        points: Array = self.mesh[_POINT_PAIRS].mean(1)
        return points

    @cached_property
    def points_mm(self) -> Array:
        """(68, 3) mm in camera axes."""
        return self.camera.unproject(self.points[:, :2], self.depth(self.points[:, 2]))

    def depth(self, z: Array) -> Array:
        """Distance from the camera (mm) of mesh depths (px).

        As in OpenFace, the mean of the 68 points is where the scale puts it:
        p_scale * mean(Z) / fx = 1.
        """
        scale = self.similarity[0]
        distance: Array = (self.camera.fx + z - self.points[:, 2].mean()) / scale
        return distance


def euler_angles(rotation: Array) -> Array:
    """(3,) rad of a rotation matrix R = Rx(a) Ry(b) Rz(c)."""
    angles: Array = Rotation.from_matrix(rotation).as_euler("XYZ")
    return angles
