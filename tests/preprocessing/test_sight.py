"""Regions of a picture in which the mesh is sought."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from examples.sample_clip import portrait
from preprocessing.geometry import VERTICES
from preprocessing.mediapipe_quietly import DetectionGraph, face_detection, quiet
from preprocessing.sight import (
    EYE_CORNERS,
    REGION,
    FaceGraphs,
    Region,
    Sight,
    _around,
    _bounds,
    _distinct,
)


def mesh(left: float, top: float, width: float, height: float) -> NDArray[np.float64]:
    """All vertices in the middle, but for two at the corners."""
    points = np.zeros((VERTICES, 3))
    points[:, :2] = (left + width / 2, top + height / 2)
    points[0, :2], points[1, :2] = (left, top), (left + width, top + height)
    return points


def test_a_region_by_hand() -> None:
    points = mesh(10, 20, 40, 60)
    points[EYE_CORNERS[0], :2], points[EYE_CORNERS[1], :2] = (20, 30), (30, 40)
    found = _around(Sight(points, _bounds(points, 0.9)))
    assert (found.x, found.y, found.side) == (30, 50, 90)
    assert found.angle == pytest.approx(np.pi / 4)


def test_two_meshes_at_one_place_are_one_face() -> None:
    first, same, other = (
        Sight(m, _bounds(m, 0.9))
        for m in (mesh(0, 0, 40, 40), mesh(4, 4, 40, 40), mesh(60, 0, 40, 40))
    )
    assert [sight.box for sight in _distinct([first, None, same, other])] == [first.box, other.box]


def test_a_turned_face_is_found_in_a_turned_region() -> None:
    graphs = FaceGraphs()
    upright = portrait(0.0)
    quarter = np.ascontiguousarray(np.rot90(upright))
    (seen,) = graphs.look(upright)
    points = seen.mesh[:, :2]
    # A quarter turn against the clock: x becomes y counted from below.
    turned = np.stack([points[:, 1], quarter.shape[0] - points[:, 0]], axis=1)
    x, y = (turned.min(0) + turned.max(0)) / 2
    side = REGION * float(np.ptp(turned, axis=0).max())
    found = graphs._mesh(quarter, Region(float(x), float(y), side, -np.pi / 2))
    graphs.close()
    assert found is not None
    eyes = np.linalg.norm(points[EYE_CORNERS[0]] - points[EYE_CORNERS[1]])
    assert np.linalg.norm(found[:, :2] - turned, axis=1).mean() < 0.05 * eyes


def test_no_face_in_a_region_is_none() -> None:
    graphs = FaceGraphs()
    assert graphs._mesh(np.full((200, 300, 3), 90, np.uint8), Region(150, 100, 100)) is None
    graphs.close()


def test_a_face_that_jumped_is_found_near_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = FaceGraphs()
    picture = portrait(0.0)
    (before,) = graphs.look(picture)
    jump = round(before.box.width * 0.8)
    jumped = np.roll(picture, jump, axis=1)
    assert graphs._fitted(jumped, _around(before), 1.0) is None
    with monkeypatch.context() as only_close_up:
        only_close_up.setattr(graphs, "look", None)
        (after,) = graphs.follow(jumped, [before])
    graphs.close()
    assert after.box.left - before.box.left == pytest.approx(jump, abs=0.05 * before.box.width)
    assert after.box.score == before.box.score


@pytest.mark.parametrize("far", [True, False])
def test_a_detector_answers_as_mediapipes_own_does(far: bool) -> None:
    picture = portrait(0.0)
    with quiet():
        theirs = face_detection.FaceDetection(model_selection=int(far))
        ours = DetectionGraph(far=far)
        for shown in (picture, np.ascontiguousarray(picture[:, ::-1]), np.zeros_like(picture)):
            expected = list(theirs.process(shown).detections or ())
            assert ours.detections(shown) == expected
        assert not expected
    for graph in (theirs, ours):
        graph.close()
