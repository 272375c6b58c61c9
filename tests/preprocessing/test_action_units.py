"""Action units of faces that are moved by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from preprocessing.action_units import (
    COEFFICIENTS,
    INTENSITIES,
    PRESENCES,
    calibration,
    distances,
    estimates,
    resting,
    settle,
    units,
)
from preprocessing.expressions import NAMES
from preprocessing.geometry import VERTICES
from preprocessing.openface_columns import INDEX, empty_rows, indices
from preprocessing.schema import ACTION_UNITS

Mesh = NDArray[np.float64]
Rows = NDArray[np.float32]


def blank() -> Mesh:
    """A face whose vertices all lie in one point, but for the corners of the eyes."""
    face = np.zeros((VERTICES, 3))
    face[[33, 133, 362, 263], 0] = (-45, -18, 18, 45)
    return face


def moved(face: Mesh, vertices: tuple[int, ...], by: tuple[float, float, float]) -> Mesh:
    face = face.copy()
    face[list(vertices)] += by
    return face


def test_every_unit_has_coefficients_of_known_measures() -> None:
    assert list(units()) == [f"AU{unit}" for unit in ACTION_UNITS]
    names = set(distances(blank())) | set(NAMES)
    for unit in units().values():
        assert unit.weights.keys() <= names
        assert 0 < unit.present_from <= 5
    assert COEFFICIENTS.stat().st_size < 100_000


def test_distances_by_hand() -> None:
    face = moved(blank(), (61,), (-23.0, 2.0, 0.0))
    face = moved(face, (291,), (29.0, 4.0, 0.0))
    face = moved(face, (14,), (0.0, 7.0, 0.0))
    found = distances(face)
    assert found["mouth_width"] == pytest.approx(np.hypot(52, 2))
    assert found["lip_gap"] == pytest.approx(7)
    # Corners at 3 below, the lips' middle at 3.5 below: half a millimetre above it.
    assert found["corner_height"] == pytest.approx(0.5)
    assert found["eye_closed"] == pytest.approx(0.28 * 20)


def test_distances_of_many_faces_at_once() -> None:
    faces = np.random.default_rng(0).normal(0, 20, (2, 3, VERTICES, 3))
    found = distances(faces)
    one = distances(faces[1, 2])
    for name, values in found.items():
        assert values.shape == (2, 3)
        assert values[1, 2] == pytest.approx(one[name])


@pytest.mark.parametrize(
    ("unit", "vertices", "by"),
    [
        ("AU01", (55, 107, 285, 336), (0.0, -5.0, 0.0)),
        ("AU25", (14, 17), (0.0, 5.0, 0.0)),
        ("AU26", (152, 175), (0.0, 9.0, 0.0)),
        ("AU45", (159, 158, 160, 386, 385, 387), (0.0, 3.0, 0.0)),
        ("AU12", (61, 206, 203, 291, 426, 423), (0.0, -4.0, 0.0)),
    ],
)
def test_a_movement_raises_what_its_unit_takes_from_distances(
    unit: str, vertices: tuple[int, ...], by: tuple[float, float, float]
) -> None:
    def from_distances(face: Mesh) -> float:
        found = distances(face)
        weights = units()[unit].weights.items()
        return sum(weight * float(found[name]) for name, weight in weights if name in found)

    assert from_distances(moved(blank(), vertices, by)) > from_distances(blank())


def test_estimates_of_many_faces_at_once() -> None:
    faces = np.random.default_rng(0).normal(0, 20, (2, 3, VERTICES, 3))
    found = estimates(faces)
    assert found.shape == (2, 3, 17)
    np.testing.assert_allclose(found[1, 2], estimates(faces[1, 2]))


def clip_rows(values: list[float], *, face: int = 0, seconds: float) -> Rows:
    """A row for each estimate, the same for every unit, spread over so many seconds."""
    rows = empty_rows(len(values))
    rows[:, indices(("face_id", "success"))] = (face, 1)
    rows[:, INDEX["timestamp"]] = np.linspace(0, seconds, len(values))
    rows[:, indices(INTENSITIES)] = np.array(values)[:, None]
    return rows


def test_a_still_is_not_calibrated_and_a_clip_is() -> None:
    still = clip_rows([1.5], seconds=0)
    settle(still)
    assert still[0, INDEX["AU12_r"]] == 1.5
    # 0, 1 .. 20: a quantile of .15 is 3; seen for 15 s, three quarters of it are taken.
    clip = clip_rows([value / 4 for value in range(21)], seconds=15)
    settle(clip)
    expected = np.clip(np.arange(21) / 4 - 0.75 * 0.75, 0, 5)
    np.testing.assert_allclose(clip[:, INDEX["AU12_r"]], expected, atol=1e-6)
    assert calibration(0) == 0
    assert calibration(5) == 0.5


def test_each_face_is_calibrated_to_itself() -> None:
    rows = np.concatenate(
        [clip_rows([2.0] * 4, face=3, seconds=5), clip_rows([4.0] * 4, face=8, seconds=5)]
    )
    assert {face: rest[0] for face, rest in resting(rows).items()} == {3: 1.0, 8: 2.0}
    settle(rows)
    assert rows[:, INDEX["AU01_r"]].tolist() == [1.0] * 4 + [2.0] * 4


def test_a_face_that_was_not_looked_at_is_brought_to_the_scale_alone() -> None:
    rows = clip_rows([-1.0, 7.0], face=5, seconds=60)
    settle(rows, {4: np.ones(17)})
    assert rows[:, INDEX["AU01_r"]].tolist() == [0.0, 5.0]


def test_rows_without_a_face_stay_empty() -> None:
    rows = empty_rows(2)
    before = rows.copy()
    settle(rows)
    np.testing.assert_array_equal(rows, before)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1000))
def test_intensities_and_presences_stay_on_their_scales(seed: int, spread: float) -> None:
    values = np.random.default_rng(seed).normal(0, spread, 5)
    rows = clip_rows(values.tolist(), seconds=3)
    settle(rows)
    found, present = rows[:, indices(INTENSITIES)], rows[:, indices(PRESENCES)]
    assert ((found >= 0) & (found <= 5)).all()
    least = np.array([unit.present_from for unit in units().values()], np.float32)
    np.testing.assert_array_equal(present, found >= least)
    assert np.isnan(rows[:, INDEX["AU28_c"]]).all()
