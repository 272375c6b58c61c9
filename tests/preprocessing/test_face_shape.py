"""The shape of a face: what moves it and what does not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from benchmarks.fit_mean_face import EYE_SPAN_MM, MIRROR, mean_face
from preprocessing.face_shape import INNER, MEAN_FACE, align, shape_rows
from preprocessing.openface_columns import empty_rows, group, indices
from preprocessing.schema import SHAPE_COLUMNS

MEAN = np.array(json.loads(MEAN_FACE.read_text()))
XYZ = indices(group("landmarks_3d").columns)


def row_of(face: np.ndarray) -> np.ndarray:
    """An OpenFace row with these 51 inner points (mm) and a jaw of zeros."""
    points = np.zeros((68, 3))
    points[INNER[0] :] = face
    values = empty_rows(1)
    values[0, XYZ] = points.T.ravel()
    return values


def test_the_mean_face_is_its_own_shape_upright_and_symmetric() -> None:
    found = shape_rows(row_of(MEAN))[0].reshape(2, 51)
    np.testing.assert_allclose(found, MEAN[:, :2].T, atol=1e-3)
    assert np.linalg.norm(MEAN[45 - 17] - MEAN[36 - 17]) == pytest.approx(EYE_SPAN_MM, abs=0.1)
    # Brows above eyes above the mouth; y grows downwards.
    assert MEAN[:10, 1].max() < MEAN[19:31, 1].min() < MEAN[31:, 1].min()
    mirrored = MEAN[np.array(MIRROR) - 17] * (-1, 1, 1)
    np.testing.assert_allclose(mirrored, MEAN, atol=0.2)


@settings(deadline=None, max_examples=50)
@given(
    angles=st.tuples(*[st.floats(-1.2, 1.2)] * 3),
    place=st.tuples(*[st.floats(-500, 500)] * 3),
    size=st.floats(0.5, 2.0),
    seed=st.integers(0, 1000),
)
def test_pose_place_and_size_do_not_change_a_shape(
    angles: tuple[float, float, float],
    place: tuple[float, float, float],
    size: float,
    seed: int,
) -> None:
    face = MEAN + np.random.default_rng(seed).normal(0, 2, MEAN.shape)
    turned = size * face @ Rotation.from_euler("XYZ", angles).as_matrix().T + np.array(place)
    np.testing.assert_allclose(shape_rows(row_of(turned)), shape_rows(row_of(face)), atol=2e-2)


def test_a_smile_moves_the_corners_of_the_mouth_and_little_else() -> None:
    smile = MEAN.copy()
    smile[48 - 17] += (-6, -4, 0)
    smile[54 - 17] += (6, -4, 0)
    moved = (shape_rows(row_of(smile)) - shape_rows(row_of(MEAN)))[0]
    change = dict(zip(SHAPE_COLUMNS, moved, strict=True))
    assert change["face_x_54"] > 4
    assert change["face_y_54"] < -3
    others = [v for n, v in change.items() if not n.endswith(("_48", "_54"))]
    assert max(map(abs, others)) < 1.5


def test_a_mirrored_face_is_not_taken_for_a_turned_one() -> None:
    lopsided = MEAN + np.random.default_rng(1).normal(0, 3, MEAN.shape)
    (aligned,) = align(lopsided[None] * (-1, 1, 1), MEAN)
    rotation, _ = Rotation.align_vectors(
        aligned - aligned.mean(0), (lopsided - lopsided.mean(0)) * (-1, 1, 1)
    )
    assert np.linalg.det(rotation.as_matrix()) == pytest.approx(1)
    assert not np.allclose(aligned, align(lopsided[None], MEAN)[0], atol=0.5)


def test_without_landmarks_a_shape_is_unknown() -> None:
    rows = np.concatenate([empty_rows(1), row_of(MEAN)])
    found = shape_rows(rows)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
    assert shape_rows(empty_rows(0)).shape == (0, 102)
    assert np.isnan(shape_rows(empty_rows(2))).all()


def test_the_fit_finds_the_mean_of_turned_faces() -> None:
    random = np.random.default_rng(2)
    turned = np.stack(
        [
            (MEAN + random.normal(0, 1, MEAN.shape)) @ Rotation.random(rng=random).as_matrix().T
            for _ in range(300)
        ]
    )
    np.testing.assert_allclose(mean_face(turned), MEAN - MEAN.mean(0), atol=0.6)
