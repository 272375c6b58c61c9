"""Action units of faces that are moved by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from preprocessing.action_units import (
    COEFFICIENTS,
    distances,
    intensities,
    presences,
    units,
)
from preprocessing.geometry import VERTICES
from preprocessing.openface_columns import group
from preprocessing.schema import ACTION_UNITS

Mesh = NDArray[np.float64]


def blank() -> Mesh:
    """A face whose vertices all lie in one point, but for the corners of the eyes."""
    face = np.zeros((VERTICES, 3))
    face[[33, 133, 362, 263], 0] = (-45, -18, 18, 45)
    return face


def moved(face: Mesh, vertices: tuple[int, ...], by: tuple[float, float, float]) -> Mesh:
    face = face.copy()
    face[list(vertices)] += by
    return face


def test_every_unit_has_coefficients_of_known_distances() -> None:
    assert list(units()) == [f"AU{unit}" for unit in ACTION_UNITS]
    names = set(distances(blank()))
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
def test_a_movement_raises_its_unit(
    unit: str, vertices: tuple[int, ...], by: tuple[float, float, float]
) -> None:
    def raw(face: Mesh) -> float:
        return sum(w * float(distances(face)[name]) for name, w in units()[unit].weights.items())

    assert raw(moved(blank(), vertices, by)) > raw(blank())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1000))
def test_intensities_and_presences_stay_on_their_scales(seed: int, spread: float) -> None:
    face = np.random.default_rng(seed).normal(0, spread, (VERTICES, 3))
    found = intensities(face)
    assert tuple(found) == group("au_intensity").columns
    assert all(0 <= value <= 5 for value in found.values())
    present = presences(found)
    assert set(group("au_presence").columns) - set(present) == {"AU28_c"}
    assert all(value in (0, 1) for value in present.values())
    for name, value in found.items():
        unit = units()[name.removesuffix("_r")]
        assert present[name.replace("_r", "_c")] == (value >= unit.present_from)
