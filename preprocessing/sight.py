"""Faces in one picture: MediaPipe's two detectors, and its mesh on a square around a face."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.mediapipe_quietly import face_detection, face_mesh, quiet
from preprocessing.speaker import Box

Mesh = NDArray[np.float64]
Picture = NDArray[np.uint8]

CROP: Final = 2.0
"""Side of the square given to the mesh, in sides of the detected box."""

CLEAR: Final = 0.7
"""Least score of the close-up detector in clips: below, it takes lamps and shelves for faces."""

MOST_FACES: Final = 4
"""Most faces of a picture that are measured, the largest first."""

SMALLEST_SIDE: Final = 16
"""Pictures with a shorter side (px) hold no face that could be measured."""


_QUIETLY: Final = Lock()


@dataclass(frozen=True, slots=True)
class Sight:
    """A face that was found in a picture.

    Attributes:
        mesh: (478, 3) px.
        box: where a detector saw it.
    """

    mesh: Mesh
    box: Box


class FaceGraphs:
    """MediaPipe's graphs for one picture at a time."""

    def __init__(self) -> None:
        with quiet():
            # The first for faces at a distance, the second for those that fill the picture.
            self._detectors = (
                face_detection.FaceDetection(model_selection=1),
                face_detection.FaceDetection(model_selection=0, min_detection_confidence=CLEAR),
            )
            self._mesher = face_mesh.FaceMesh(
                static_image_mode=True, max_num_faces=1, refine_landmarks=True
            )
            # The graphs start on their first picture, and that is when they log.
            blank = np.zeros((64, 64, 3), np.uint8)
            for graph in (*self._detectors, self._mesher):
                graph.process(blank)
        self._spoken = False
        """Whether the mesh's graph has met its first face, which it comments on."""

    def close(self) -> None:
        """Free the graphs."""
        for graph in (*self._detectors, self._mesher):
            graph.close()

    def look_still(self, rgb: Picture) -> Sight | None:
        """Find the face in a picture known to be of one.

        Where no detector is sure, the mesh is tried on the whole picture.
        """
        sights = self.look(rgb)
        if sights:
            return sights[0]
        mesh = self._mesh(rgb) if min(rgb.shape[:2]) >= SMALLEST_SIDE else None
        return None if mesh is None else Sight(mesh, _bounds(mesh))

    def look(self, rgb: Picture) -> list[Sight]:
        """Find the faces in a picture, the largest first, at most `MOST_FACES`.

        A box counts as a face once a mesh fits into it.

        Args:
            rgb: (height, width, 3) uint8.
        """
        if min(rgb.shape[:2]) < SMALLEST_SIDE:
            return []
        shared = _read_only(rgb)
        boxes = next(filter(None, (_detect(graph, shared) for graph in self._detectors)), [])
        boxes.sort(key=lambda box: box.area, reverse=True)
        meshes = [(self._mesh_in(rgb, box), box) for box in boxes[:MOST_FACES]]
        return [Sight(mesh, box) for mesh, box in meshes if mesh is not None]

    def _mesh(self, rgb: Picture) -> Mesh | None:
        """(478, 3) px of the clearest face of a picture."""
        rgb = _read_only(rgb)
        if self._spoken:
            found = self._mesher.process(rgb).multi_face_landmarks
        else:
            # The descriptor that is turned away belongs to the whole process.
            with _QUIETLY, quiet():
                found = self._mesher.process(rgb).multi_face_landmarks
        if not found:
            return None
        self._spoken = True
        height, width = rgb.shape[:2]
        points = np.array([(point.x, point.y, point.z) for point in found[0].landmark])
        mesh: Mesh = points * (width, height, width)
        return mesh

    def _mesh_in(self, rgb: Picture, box: Box) -> Mesh | None:
        """(478, 3) px of the picture: the mesh of the face in a box."""
        side = max(2, round(CROP * max(box.width, box.height)))
        left = round(box.left + (box.width - side) / 2)
        top = round(box.top + (box.height - side) / 2)
        height, width = rgb.shape[:2]
        inside = rgb[max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
        square = np.zeros((side, side, 3), np.uint8)
        down, right = max(-top, 0), max(-left, 0)
        square[down : down + inside.shape[0], right : right + inside.shape[1]] = inside
        mesh = self._mesh(square)
        return None if mesh is None else mesh + np.array((left, top, 0))


def _read_only(rgb: Picture) -> Picture:
    """The same pixels, which MediaPipe then need not copy."""
    view = np.ascontiguousarray(rgb).view()
    view.flags.writeable = False
    return view


def _detect(graph: Any, rgb: Picture) -> list[Box]:
    """Boxes of the faces that a detector finds in a picture."""
    height, width = rgb.shape[:2]
    boxes = []
    for detection in graph.process(rgb).detections or ():
        box = detection.location_data.relative_bounding_box
        size = (box.width * width, box.height * height)
        boxes.append(Box(box.xmin * width, box.ymin * height, *size, score=detection.score[0]))
    return boxes


def _bounds(mesh: Mesh) -> Box:
    left, top = mesh[:, :2].min(0)
    width, height = np.ptp(mesh[:, :2], axis=0)
    return Box(left, top, width, height, score=0.5)
