"""Faces in pictures with MediaPipe (Apache-2.0), as OpenFace's 714 columns.

Each picture is analysed by itself: a detector finds faces of any size, the mesh is taken on a
square around the one that is followed. MediaPipe's own tracking mode was tried on the pairs of
`benchmarks/openface_concordance.py`: it carries state from picture to picture, misses small faces
(act409_clip2: found in 38 % of the pictures, by this way in 96 %), places landmarks no better, and
saves 5 of 12 ms a picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from preprocessing import action_units
from preprocessing.clip import FaceFeatures, Frame
from preprocessing.gaze import gaze
from preprocessing.geometry import Camera, Head
from preprocessing.mediapipe_quietly import face_detection, face_mesh, quiet
from preprocessing.openface_columns import INDEX, empty_rows, group

Mesh = NDArray[np.float64]
Picture = NDArray[np.uint8]

UNSUPPORTED_COLUMNS: Final = (*group("shape_non_rigid").columns, "AU28_c")
"""Always NaN: they need OpenFace's own shape model (p_0..p_33) or its appearance model (AU28_c)."""

CROP: Final = 2.0
"""Side of the square given to the mesh, in sides of the detected box."""

CLEAR: Final = 0.7
"""Least score of the close-up detector in clips: below, it takes lamps and shelves for faces."""

SAME_FACE: Final = 0.2
"""Least overlap (intersection over union) of the boxes of one face in pictures that follow."""

SMALLEST_SIDE: Final = 16
"""Pictures with a shorter side (px) hold no face that could be measured."""


@dataclass(frozen=True, slots=True)
class Box:
    """A detected face: px of the picture, and the detector's score 0-1."""

    left: float
    top: float
    width: float
    height: float
    score: float

    @property
    def area(self) -> float:
        """px²."""
        return self.width * self.height

    def overlap(self, other: Box) -> float:
        """Intersection over union, 0-1."""
        wide = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        high = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        shared = max(wide, 0.0) * max(high, 0.0)
        return shared / (self.area + other.area - shared)


@dataclass(frozen=True, slots=True)
class Sight:
    """What was found in one picture.

    Attributes:
        mesh: (478, 3) px, of the followed face.
        box: of the followed face.
        faces: how many faces there are.
    """

    mesh: Mesh
    box: Box
    faces: int


class FaceTracker:
    """Reusable for any number of clips and stills, one at a time; keeps nothing between them."""

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

    def analyse(self, frames: Iterable[Frame], *, steps_per_second: int) -> FaceFeatures:
        """Facial rows of a clip, one for each picture analysed.

        The first picture at or after each tick of 1/steps_per_second is analysed. Of several faces
        the largest is followed for as long as its box overlaps from picture to picture; then the
        largest anew.

        Args:
            frames: pictures of one clip in the order of time.
            steps_per_second: analysis rate (1/s).
        """
        rows: list[NDArray[np.float32]] = []
        followed: Box | None = None
        faces = with_face = 0
        for frame in _ticks(frames, steps_per_second):
            sight = self.look(frame.rgb, followed, known=faces)
            followed = sight.box if sight else None
            faces = max(faces, sight.faces if sight else 0)
            with_face += sight is not None
            rows.append(_row(frame, sight))
        values = np.stack(rows) if rows else empty_rows(0)
        return FaceFeatures(values, len(rows), with_face, faces, source="built-in")

    def analyse_still(self, rgb: Picture) -> FaceFeatures:
        """Facial row of a still that is known to be of a face: see `look_still`.

        Args:
            rgb: (height, width, 3) uint8; of a small cut-out, what `enlarge_small_still` returns.

        Returns:
            One row, at 0 s.
        """
        still = Frame(rgb, seconds=0.0, index=0)
        sight = self.look_still(rgb)
        found = int(sight is not None)
        faces = sight.faces if sight else 0
        return FaceFeatures(_row(still, sight)[None], 1, found, faces, source="built-in")

    def close(self) -> None:
        """Free the graphs."""
        for graph in (*self._detectors, self._mesher):
            graph.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def look_still(self, rgb: Picture) -> Sight | None:
        """Find the face in a picture known to be of one.

        Where no detector is sure, the mesh is tried on the whole picture.
        """
        sight = self.look(rgb)
        if sight is None and min(rgb.shape[:2]) >= SMALLEST_SIDE:
            mesh = self._mesh(rgb)
            sight = mesh if mesh is None else Sight(mesh, _bounds(mesh), faces=1)
        return sight

    def look(self, rgb: Picture, followed: Box | None = None, known: int = 0) -> Sight | None:
        """Find the face to follow in a picture.

        Args:
            rgb: (height, width, 3) uint8.
            followed: where the face was in the picture before.
            known: most faces seen in the clip so far.
        """
        if min(rgb.shape[:2]) < SMALLEST_SIDE:
            return None
        boxes = next(filter(None, (_detect(graph, rgb) for graph in self._detectors)), [])
        same = [box for box in boxes if followed and box.overlap(followed) >= SAME_FACE]
        boxes.sort(key=lambda box: (box in same, box.area), reverse=True)
        found: tuple[Mesh, Box] | None = None
        faces = 0
        for box in boxes:
            # A box counts as a face once a mesh fits into it; beyond the followed face that is
            # worth its time only where the count would be a new record.
            if found and len(boxes) <= known:
                break
            mesh = self._mesh_in(rgb, box)
            if mesh is not None:
                faces += 1
                found = found or (mesh, box)
        return Sight(*found, faces) if found else None

    def _mesh(self, rgb: Picture) -> Mesh | None:
        """(478, 3) px of the clearest face of a picture."""
        with nullcontext() if self._spoken else quiet():
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
        square = np.zeros((side, side, 3), np.uint8)
        inside = rgb[max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
        down, right = max(-top, 0), max(-left, 0)
        square[down : down + inside.shape[0], right : right + inside.shape[1]] = inside
        mesh = self._mesh(square)
        return None if mesh is None else mesh + np.array((left, top, 0))


def enlarge_small_still(grey: Picture) -> Picture:
    """Make a small cut-out face, such as FER2013's of 48x48 px, fit for the tracker.

    Detectors expect some room around a face. It is enlarged to 192 px (bicubic) with a border of
    48 px that repeats the edge. A mesh is found in 95 % of FER2013's pictures.

    Args:
        grey: (height, width) uint8.

    Returns:
        (288, 288, 3) uint8.
    """
    large = cv2.resize(grey, (192, 192), interpolation=cv2.INTER_CUBIC)
    large = cv2.copyMakeBorder(large, 48, 48, 48, 48, cv2.BORDER_REPLICATE)
    return np.repeat(large[..., None], 3, axis=2)


def _ticks(frames: Iterable[Frame], steps_per_second: int) -> Iterator[Frame]:
    """Pass on the first frame at or after each tick; none twice."""
    due = 0
    for frame in frames:
        # A microsecond for timestamps that are rounded down.
        tick = int((frame.seconds + 1e-6) * steps_per_second)
        if tick >= due:
            due = tick + 1
            yield frame


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


def _row(frame: Frame, sight: Sight | None) -> NDArray[np.float32]:
    """(714,) OpenFace's columns of one picture."""
    row: NDArray[np.float32] = empty_rows(1)[0]
    row[INDEX["frame"]] = frame.index + 1
    row[INDEX["timestamp"]] = frame.seconds
    if sight is None:
        return row
    height, width = frame.rgb.shape[:2]
    camera = Camera.default(width * frame.scale, height * frame.scale)
    head = Head(sight.mesh * frame.scale, camera)
    eyes = gaze(head)
    intensities = action_units.intensities(head.frontal)
    scale, _, offset = head.similarity
    blocks: dict[str, ArrayLike] = {
        "confidence": sight.box.score,
        "success": 1,
        "gaze": eyes.vectors,
        "gaze_angle": eyes.angles,
        "eye_2d": eyes.points.T,
        "eye_3d": eyes.points_mm.T,
        "pose_translation": head.pose[1],
        "pose_rotation": head.pose_angles,
        "landmarks_2d": head.points[:, :2].T,
        "landmarks_3d": head.points_mm.T,
        "shape_rigid": (scale, *head.shape_angles, *offset[:2]),
    }
    for name, block in blocks.items():
        columns = group(name).columns
        row[INDEX[columns[0]] : INDEX[columns[-1]] + 1] = np.ravel(block)
    for name, value in (intensities | action_units.presences(intensities)).items():
        row[INDEX[name]] = value
    return row
