"""Pose, landmarks and gaze of heads of known geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from preprocessing.gaze import EYES, gaze, gaze_angles
from preprocessing.geometry import CHIN_VERTICES, FACE_POINTS, VERTICES, Camera, Head, euler_angles
from tests.preprocessing.heads import (
    ANGLES,
    CAMERA,
    TRANSLATION,
    flat_head,
    head_mesh,
    head_points,
)

ANGLE = st.floats(-0.5, 0.5)


def test_the_default_camera_is_openfaces() -> None:
    assert Camera.default(640, 480) == Camera(500, 500, 320, 240)
    assert Camera.default(224, 224).fx == pytest.approx(204.17, abs=0.01)


def test_unproject_undoes_the_projection() -> None:
    camera = Camera(fx=200, fy=400, cx=10, cy=20)
    points = camera.unproject(np.array([[110.0, 120.0], [10.0, 20.0]]), np.array([4.0, 7.0]))
    assert points.tolist() == [[2, 1, 4], [0, 0, 7]]


@settings(max_examples=20, deadline=None)
@given(ANGLE, ANGLE, ANGLE, st.floats(-100, 100), st.floats(-100, 100), st.floats(300, 2000))
def test_pose_is_recovered(a: float, b: float, c: float, x: float, y: float, z: float) -> None:
    head = Head(head_mesh((a, b, c), (x, y, z)), CAMERA)
    assert euler_angles(head.pose[0]) == pytest.approx((a, b, c), abs=1e-4)
    assert head.pose[1] == pytest.approx((x, y, z), abs=0.1)
    assert head.pose[0] @ head.pose[0].T == pytest.approx(np.eye(3))


def test_a_chin_that_lies_deeper_bows_the_head() -> None:
    """5 mm at 0.38 degrees each about the head's own x, though nothing in the picture moves."""
    head = flat_head(scale=1.0)
    mesh = head.mesh.copy()
    mesh[CHIN_VERTICES] += 5 * head.similarity[1] @ (0, 0, 1)
    assert Head(head.mesh, CAMERA).bowed == pytest.approx(head.pose[0])
    mesh[:, :2] = head.mesh[:, :2]
    deeper = Head(mesh, CAMERA)
    assert deeper.pose[0] == pytest.approx(head.pose[0])
    turned = Rotation.from_matrix(head.pose[0].T @ deeper.bowed).as_rotvec(degrees=True)
    lean = head.similarity[1][2, 2]
    assert turned == pytest.approx((0.38 * 5 * lean**2, 0, 0), abs=1e-6)


def test_turning_to_the_pictures_right_is_a_negative_yaw() -> None:
    """A head that looks along +x: its nose, at -z in head axes, moves to +x."""
    nose = head_mesh((0.0, -0.3, 0.0), (0.0, 0.0, 600.0))[4]
    assert nose[0] > CAMERA.cx


def test_similarity_and_frontal_undo_scale_and_pose() -> None:
    head = flat_head(scale=1.3)
    scale, rotation, translation = head.similarity
    assert scale == pytest.approx(1.3)
    assert translation == pytest.approx((100, 80, 0))
    assert rotation @ rotation.T == pytest.approx(np.eye(3))
    assert head.frontal == pytest.approx(head_points())


def test_a_head_beside_the_axis_looks_turned_to_the_shape_model() -> None:
    straight = Head(head_mesh((0.0, 0.0, 0.0), (0.0, 0.0, 600.0)), CAMERA)
    assert straight.shape_angles == pytest.approx((straight.pose_angles[0], 0, 0), abs=1e-6)
    beside = Head(head_mesh((0.0, 0.0, 0.0), (150.0, 0.0, 600.0)), CAMERA)
    turned = Rotation.from_euler("YX", (-math.atan(150 / 600), beside.pose_angles[0]))
    assert beside.shape_angles == pytest.approx(turned.as_euler("XYZ"), abs=1e-4)


def test_the_68_points() -> None:
    assert len(FACE_POINTS) == 68
    assert all(0 <= vertex < VERTICES for point in FACE_POINTS for vertex in point)
    head = Head(head_mesh(), CAMERA)
    assert head.points[30] == pytest.approx(head.mesh[4])
    assert head.points[3] == pytest.approx((head.mesh[132] + head.mesh[58]) / 2)


def test_3d_landmarks_project_onto_the_2d_ones_and_lie_at_the_scales_distance() -> None:
    head = Head(head_mesh(), CAMERA)
    x, y, z = head.points_mm.T
    assert CAMERA.fx * x / z + CAMERA.cx == pytest.approx(head.points[:, 0])
    assert CAMERA.fy * y / z + CAMERA.cy == pytest.approx(head.points[:, 1])
    assert head.similarity[0] * z.mean() / CAMERA.fx == pytest.approx(1)
    assert z.mean() == pytest.approx(TRANSLATION[2], rel=0.05)


def test_gaze_angles() -> None:
    assert gaze_angles(np.array([[0, 0, -1.0], [0, 0, -1]])).tolist() == [0, 0]
    assert gaze_angles(np.array([[0.2, 0, -1], [-0.2, 1, -1]])) == pytest.approx(
        (0, math.atan(0.5))
    )
    half = math.sqrt(0.5)
    assert gaze_angles(np.array([[half, 0, -half]] * 2)) == pytest.approx((math.pi / 4, 0))


def looking(right: float = 0.0, down: float = 0.0) -> Head:
    """A head that faces the camera, with the irises moved by so many px from the lids' middle."""
    mesh = head_mesh((0.0, 0.0, 0.0), (0.0, 38.0, 400.0))
    for eye in EYES:
        left, right_corner = mesh[eye.upper[0]].copy(), mesh[eye.upper[-1]].copy()
        middle = np.linspace(left, right_corner, 9)
        mesh[list(eye.upper)] = middle - np.array((0, 3, 0))
        mesh[list(eye.lower)] = middle + np.array((0, 3, 0))
        mesh[[eye.upper[0], eye.upper[-1]]] = left, right_corner
        iris = middle[4] + np.array((right, down, 0))
        mesh[eye.iris] = iris
        mesh[list(eye.ring)] = iris + np.array([(5, 0, 0), (0, -5, 0), (-5, 0, 0), (0, 5, 0)])
    return Head(mesh, CAMERA)


def test_irises_in_the_middle_look_straight_ahead() -> None:
    found = gaze(looking())
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx((1, 1))
    assert found.angles[0] == pytest.approx(0, abs=1e-6)
    # The left and the right eye mirror each other.
    assert found.vectors[0] * (-1, 1, 1) == pytest.approx(found.vectors[1])
    assert (found.vectors[:, 2] < -0.9).all()
    # Each looks along its own ray to the camera: 34 mm beside the axis, 400 mm away less the depth.
    ray = looking().mesh[[33, 133], 0].mean() - CAMERA.cx
    assert found.vectors[0, 0] / -found.vectors[0, 2] == pytest.approx(-ray / CAMERA.fx, rel=1e-3)
    assert found.vectors[0, 0] > 0.05


@settings(max_examples=10, deadline=None)
@given(st.floats(0.2, 4), st.floats(0.2, 3))
def test_gaze_follows_the_irises(right: float, down: float) -> None:
    middle, moved = gaze(looking()), gaze(looking(right, down))
    assert moved.angles[0] > middle.angles[0]
    assert moved.angles[1] > middle.angles[1]
    assert np.linalg.norm(moved.vectors, axis=1) == pytest.approx((1, 1))


def test_an_iris_beyond_the_eyeball_still_gives_a_direction() -> None:
    found = gaze(looking(right=60.0))
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx((1, 1))


def test_eye_points_are_in_openfaces_order() -> None:
    found = gaze(looking())
    assert found.points.shape == (56, 2)
    assert found.points_mm.shape == (56, 3)
    for eye, points in zip(EYES, np.split(found.points, 2), strict=True):
        iris = looking().mesh[eye.iris, :2]
        limbus, lids, pupil = points[:8], points[8:20], points[20:]
        assert limbus[0] == pytest.approx(iris - (5, 0))
        assert limbus[2] == pytest.approx(iris - (0, 5))
        assert limbus.mean(0) == pytest.approx(iris)
        assert pupil[1] == pytest.approx(iris - (0, -0.43 * 5))
        assert pupil[3] == pytest.approx(iris - (-0.43 * 5, 0))
        assert lids[0] == pytest.approx(looking().mesh[eye.upper[0], :2])
        assert lids[6] == pytest.approx(looking().mesh[eye.upper[-1], :2])
        assert lids[3, 1] < iris[1] < lids[9, 1]
        assert (np.diff(lids[:7, 0]) > 0).all()
        assert (np.diff(lids[7:, 0]) < 0).all()


def test_eye_points_in_mm_project_onto_those_in_px() -> None:
    found = gaze(Head(head_mesh(ANGLES), CAMERA))
    x, y, z = found.points_mm.T
    assert CAMERA.fx * x / z + CAMERA.cx == pytest.approx(found.points[:, 0])
    assert CAMERA.fy * y / z + CAMERA.cy == pytest.approx(found.points[:, 1])
