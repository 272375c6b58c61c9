"""Faces in pictures: found by MediaPipe's two detectors, and followed by its mesh.

MediaPipe's own `FaceMesh` looks for a face before each mesh, or follows one for as long as it can,
and does neither for faces at a distance. Here its landmark model is run on a region of our own
choosing: around a detection where a face is looked for, around the mesh of the picture before where
it is followed. The region's size and turn are those that MediaPipe gives it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.mediapipe_quietly import DetectionGraph, LandmarkGraph, quiet
from preprocessing.speaker import Box

Mesh = NDArray[np.float64]
Picture = NDArray[np.uint8]

REGION: Final = 1.5
"""Side of the region that the mesh is sought in, in sides of the face's bounds."""

MOST_FACES: Final = 4
"""Most faces of a picture that are measured, the largest first."""

SAME_PLACE: Final = 0.5
"""Overlap (intersection over union) from which two meshes are of one face."""

CLOSE_UP: Final = 2.0
"""Side of the square in which the close-up detector confirms a face, in sides of its bounds."""

SMALLEST_SIDE: Final = 16
"""Pictures with a shorter side (px) hold no face that could be measured."""

EYE_CORNERS: Final = (33, 263)
"""Vertices of the outer corners, the picture's left one first: how far a face is turned."""

_QUIETLY: Final = Lock()


@dataclass(frozen=True, slots=True)
class Sight:
    """A face that was found in a picture.

    Attributes:
        mesh: (478, 3) px.
        box: the mesh's bounds, with the score of the detection that led to it.
    """

    mesh: Mesh
    box: Box


@dataclass(frozen=True, slots=True)
class Region:
    """A square of a picture: centre and side in px, turned clockwise by an angle (rad)."""

    x: float
    y: float
    side: float
    angle: float = 0.0


class FaceGraphs:
    """MediaPipe's graphs for one picture at a time."""

    def __init__(self) -> None:
        with quiet():
            self._far, self._close_up = DetectionGraph(far=True), DetectionGraph(far=False)
            self._mesher = LandmarkGraph()
            # The graphs start on their first picture, and that is when they log.
            blank = np.zeros((64, 64, 3), np.uint8)
            for detector in (self._far, self._close_up):
                detector.detections(blank)
            self._landmarks(blank, Region(32, 32, 64))
        self._spoken = False
        """Whether the mesh's graph has met its first face, which it comments on."""

    def close(self) -> None:
        """Free the graphs."""
        for graph in (self._far, self._close_up, self._mesher):
            graph.close()

    def look(self, rgb: Picture) -> list[Sight]:
        """Find the faces in a picture, the largest first, at most `MOST_FACES`.

        A detection counts as a face once it is confirmed close up, and a mesh fits into it.

        Args:
            rgb: (height, width, 3) uint8.
        """
        if min(rgb.shape[:2]) < SMALLEST_SIDE:
            return []
        found = _detect(self._far, rgb) or _detect(self._close_up, rgb)
        found.sort(key=lambda detection: detection[0].side, reverse=True)
        return _distinct(
            [self._confirmed(rgb, region, score) for region, score in found[:MOST_FACES]]
        )

    def follow(self, rgb: Picture, before: Sequence[Sight]) -> list[Sight]:
        """Find the faces of the picture before in this one; look anew where one is lost.

        A head may move faster than the mesh follows: then its face is still near its place.

        Args:
            rgb: (height, width, 3) uint8.
            before: faces of the picture before, of the same size.
        """
        sights = [self._followed(rgb, _around(sight), sight.box.score) for sight in before]
        if not before or any(sight is None for sight in sights):
            return self.look(rgb)
        return _distinct(sights)

    def look_still(self, rgb: Picture) -> Sight | None:
        """Find the face in a picture known to be of one.

        Where no detector is sure, the mesh is tried on the whole picture.
        """
        sights = self.look(rgb)
        if sights:
            return sights[0]
        height, width = rgb.shape[:2]
        if min(height, width) < SMALLEST_SIDE:
            return None
        whole = Region(width / 2, height / 2, max(height, width))
        return self._sight(rgb, whole, score=0.5)

    def _followed(self, rgb: Picture, region: Region, score: float) -> Sight | None:
        return self._fitted(rgb, region, score) or self._confirmed(rgb, region, score)

    def _confirmed(self, rgb: Picture, region: Region, score: float) -> Sight | None:
        """The face that a detector saw, if the close-up detector sees one there, too.

        The detector for faces at a distance takes other things for faces, and the mesh of such a
        thing looks like a face.
        """
        side = max(2, round(CLOSE_UP / REGION * region.side))
        left, top = round(region.x - side / 2), round(region.y - side / 2)
        height, width = rgb.shape[:2]
        square = np.zeros((side, side, 3), np.uint8)
        inside = rgb[max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
        down, right = max(-top, 0), max(-left, 0)
        square[down : down + inside.shape[0], right : right + inside.shape[1]] = inside
        close = max(_detect(self._close_up, square), key=lambda found: found[1], default=None)
        if close is None:
            return None
        found, _ = close
        return self._sight(rgb, replace(found, x=found.x + left, y=found.y + top), score)

    def _sight(self, rgb: Picture, region: Region, score: float) -> Sight | None:
        """The face in a region that is only roughly its own: the mesh is taken twice."""
        rough = self._fitted(rgb, region, score)
        return None if rough is None else self._fitted(rgb, _around(rough), score)

    def _fitted(self, rgb: Picture, region: Region, score: float) -> Sight | None:
        mesh = self._mesh(rgb, region)
        return None if mesh is None else Sight(mesh, _bounds(mesh, score))

    def _mesh(self, rgb: Picture, region: Region) -> Mesh | None:
        """(478, 3) px of the face in a region; None where the landmark model sees none."""
        if self._spoken:
            found = self._landmarks(rgb, region)
        else:
            # The descriptor that is turned away belongs to the whole process.
            with _QUIETLY, quiet():
                found = self._landmarks(rgb, region)
        if found is None:
            return None
        self._spoken = True
        height, width = rgb.shape[:2]
        mesh: Mesh = _points(found) * (width, height, width)
        return mesh

    def _landmarks(self, rgb: Picture, region: Region) -> Any | None:
        return self._mesher.landmarks(rgb, region.x, region.y, region.side, region.angle)


def _points(landmarks: Any) -> Mesh:
    """(478, 3) of a NormalizedLandmarkList.

    They are taken from the message's bytes, as asking for each number costs a tenth of the mesh: a
    landmark is two bytes of head, then x, y and z, each a byte of head and a 32 bit float.
    """
    message = np.frombuffer(landmarks.SerializeToString(), np.uint8).reshape(-1, 17)
    numbers = message[:, 2:].reshape(-1, 3, 5)[:, :, 1:]
    return np.ascontiguousarray(numbers).view("<f4")[..., 0].astype(np.float64)


def _detect(graph: DetectionGraph, rgb: Picture) -> list[tuple[Region, float]]:
    """Regions and scores of the faces that a detector finds in a picture."""
    height, width = rgb.shape[:2]
    found = []
    for detection in graph.detections(rgb):
        box = detection.location_data.relative_bounding_box
        left, right = (
            (eye.x * width, eye.y * height)
            for eye in detection.location_data.relative_keypoints[:2]
        )
        region = Region(
            x=(box.xmin + box.width / 2) * width,
            y=(box.ymin + box.height / 2) * height,
            side=REGION * max(box.width * width, box.height * height),
            angle=math.atan2(right[1] - left[1], right[0] - left[0]),
        )
        found.append((region, float(detection.score[0])))
    return found


def _around(face: Sight) -> Region:
    """The region for the next mesh of a face."""
    box = face.box
    (x, y, _), (right, below, _) = face.mesh[EYE_CORNERS, :].tolist()
    return Region(
        x=box.left + box.width / 2,
        y=box.top + box.height / 2,
        side=REGION * max(box.width, box.height),
        angle=math.atan2(below - y, right - x),
    )


def _bounds(mesh: Mesh, score: float) -> Box:
    # Columns in one piece are faster to go through.
    x, y = np.ascontiguousarray(mesh[:, :2].T)
    left, top = float(x.min()), float(y.min())
    return Box(left, top, float(x.max()) - left, float(y.max()) - top, score=score)


def _distinct(sights: Sequence[Sight | None]) -> list[Sight]:
    """Those that are there, one for each face: two regions may have led to the same."""
    kept: list[Sight] = []
    for sight in sights:
        if sight is not None and all(sight.box.overlap(k.box) < SAME_PLACE for k in kept):
            kept.append(sight)
    return kept
