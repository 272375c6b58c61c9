"""Rotations averaged over the pictures around: by hand, and what stays as it is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.openface_columns import COLUMNS, INDEX, empty_rows, indices
from preprocessing.steady import steadied

Rows = NDArray[np.float32]

TURNED = indices(("pose_Rx", "pose_Ry", "pose_Rz", "p_rx", "p_ry", "p_rz"))


def picture(seconds: float, **angles: float) -> Rows:
    """One picture with a row for each face: ``f0=.1`` is face 0 turned by .1 rad."""
    rows = empty_rows(max(1, len(angles)))
    rows[:, INDEX["timestamp"]] = seconds
    for row, (face, angle) in zip(rows, angles.items(), strict=False):
        row[:] = angle
        row[INDEX["timestamp"]] = seconds
        row[INDEX["success"]] = 1
        row[INDEX["face_id"]] = int(face[1:])
    return rows


def turns(pictures: list[Rows]) -> list[list[float]]:
    return [[float(row[INDEX["pose_Rx"]]) for row in rows] for rows in steadied(pictures)]


def test_pictures_at_25_a_second_by_hand() -> None:
    angles = [0.3, 0.6, 0.0, 0.9]
    found = turns([picture(0.04 * i, f0=angle) for i, angle in enumerate(angles)])
    # 40 ms away counts .6, 80 ms away .2.
    expected = [0.66 / 1.8, 0.96 / 2.4, 0.96 / 2.4, 1.02 / 1.8]
    assert [rows[0] for rows in found] == pytest.approx(expected, abs=1e-5)


def test_at_60_a_second_as_much_time_is_averaged() -> None:
    angles = [0.0] * 10 + [0.7] + [0.0] * 10
    found = turns([picture(i / 60, f0=angle) for i, angle in enumerate(angles)])
    weights = np.maximum(0, 1 - np.abs(np.arange(21) - 10) / 6)
    assert [rows[0] for rows in found] == pytest.approx(0.7 * weights / 6, abs=1e-5)


def test_pictures_far_apart_stay_as_they_are() -> None:
    pictures = [picture(0.2 * i, f0=0.1 * i) for i in range(6)]
    for before, after in zip(pictures, steadied(pictures), strict=True):
        np.testing.assert_array_equal(after, before)


def test_nothing_but_rotations_changes_and_what_was_given_is_kept() -> None:
    pictures = [picture(0.04 * i, f0=0.1 * i * i) for i in range(4)]
    copies = [rows.copy() for rows in pictures]
    rest = np.setdiff1d(np.arange(len(COLUMNS)), TURNED)
    for before, given, after in zip(copies, pictures, steadied(pictures), strict=True):
        np.testing.assert_array_equal(given, before)
        np.testing.assert_array_equal(after[:, rest], before[:, rest])
        assert (after[:, TURNED] != before[:, TURNED]).all()


def test_faces_are_averaged_with_themselves_and_absent_ones_left_out() -> None:
    found = turns(
        [picture(0, f0=0.2, f1=0.8), picture(0.04, f1=0.4, f0=0.6), picture(0.08), picture(0.1)]
    )
    assert found[0] == pytest.approx([0.35, 0.65])
    assert found[1] == pytest.approx([0.55, 0.45])
    assert np.isnan(found[2]).all()
    assert np.isnan(found[3]).all()


def test_a_head_upside_down_is_averaged_the_short_way_round() -> None:
    (first, _) = turns([picture(0, f0=3.1), picture(0.04, f0=-3.1)])
    # -3.1 is .083 behind 3.1, and counts .6.
    assert first == pytest.approx([3.1 + (2 * np.pi - 6.2) * 0.6 / 1.6], abs=1e-5)


def test_no_more_than_the_pictures_around_are_held() -> None:
    taken = 0

    def clip() -> Iterator[Rows]:
        nonlocal taken
        for index in range(1000):
            taken = index
            yield picture(0.04 * index, f0=0.1)

    for given, _ in enumerate(steadied(clip())):
        assert taken - given <= 3


def test_a_clip_without_pictures_has_no_rows() -> None:
    assert list(steadied([])) == []
