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
from preprocessing.clip import FaceFeatures, Frame, Sound
from preprocessing.gaze import gaze
from preprocessing.geometry import Camera, Head
from preprocessing.mediapipe_quietly import face_detection, face_mesh, quiet
from preprocessing.openface_columns import INDEX, empty_rows, group
from preprocessing.speaker import Box, FaceNumbers, first_face, rank_faces

Mesh = NDArray[np.float64]
Picture = NDArray[np.uint8]

UNSUPPORTED_COLUMNS: Final = (*group("shape_non_rigid").columns, "AU28_c")
"""Always NaN: they need OpenFace's own shape model (p_0..p_33) or its appearance model (AU28_c)."""

CROP: Final = 2.0
"""Side of the square given to the mesh, in sides of the detected box."""

CLEAR: Final = 0.7
"""Least score of the close-up detector in clips: below, it takes lamps and shelves for faces."""

MOST_FACES: Final = 4
"""Most faces of a picture that are measured, the largest first."""

SMALLEST_SIDE: Final = 16
"""Pictures with a shorter side (px) hold no face that could be measured."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A face that was found in a picture.

    Attributes:
        mesh: (478, 3) px.
        box: where a detector saw it.
    """

    mesh: Mesh
    box: Box


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

    def rows(
        self, frames: Iterable[Frame], *, steps_per_second: float, camera: Camera | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Facial rows of a clip picture by picture, keeping nothing but the faces' places.

        The first picture at or after each tick of 1/steps_per_second is analysed.

        Args:
            frames: pictures of one clip in the order of time.
            steps_per_second: analysis rate (1/s).
            camera: that took the clip; None = OpenFace's guess.

        Yields:
            (faces, 714) a row a face, numbered by `FaceNumbers`; one row without a face where none
            was found.
        """
        numbers = FaceNumbers()
        for frame in _ticks(frames, steps_per_second):
            sights = self.look(frame.rgb)
            boxes = [sight.box for sight in sights]
            rows = [
                _row(frame, sight, number, camera)
                for number, sight in zip(numbers.assign(boxes, frame.seconds), sights, strict=True)
            ]
            yield np.stack(rows or [_row(frame, None)])

    def analyse(
        self, frames: Iterable[Frame], *, steps_per_second: float, sound: Sound | None = None
    ) -> FaceFeatures:
        """Facial rows of a clip, one for each picture analysed.

        Of several faces the one whose mouth moves with the sound is taken, without sound the
        largest; in pictures in which it is not seen, the next (`rank_faces`).

        Args:
            frames: pictures of one clip in the order of time.
            steps_per_second: analysis rate (1/s).
            sound: the clip's.
        """
        pictures = list(self.rows(frames, steps_per_second=steps_per_second))
        if not pictures:
            return FaceFeatures(empty_rows(0), 0, 0, 0, source="built-in")
        ranking, why = rank_faces(np.concatenate(pictures), sound)
        values = np.stack([first_face(rows, ranking) for rows in pictures])
        found = values[:, INDEX["success"]] == 1
        most = max(int(rows[:, INDEX["success"]].sum()) for rows in pictures)
        # One person who comes back elsewhere has two numbers, and there was no choice.
        why = why if most > 1 else "only"
        return FaceFeatures(values, len(values), int(found.sum()), most, "built-in", why)

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
        return FaceFeatures(_row(still, sight)[None], 1, found, found, source="built-in")

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
        boxes = next(filter(None, (_detect(graph, rgb) for graph in self._detectors)), [])
        boxes.sort(key=lambda box: box.area, reverse=True)
        meshes = [(self._mesh_in(rgb, box), box) for box in boxes[:MOST_FACES]]
        return [Sight(mesh, box) for mesh, box in meshes if mesh is not None]

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


def _ticks(frames: Iterable[Frame], steps_per_second: float) -> Iterator[Frame]:
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


def _row(
    frame: Frame, sight: Sight | None, number: int = 0, camera: Camera | None = None
) -> NDArray[np.float32]:
    """(714,) OpenFace's columns of one face of a picture."""
    row: NDArray[np.float32] = empty_rows(1)[0]
    row[INDEX["frame"]] = frame.index + 1
    row[INDEX["timestamp"]] = frame.seconds
    if sight is None:
        return row
    height, width = frame.rgb.shape[:2]
    camera = camera or Camera.default(width * frame.scale, height * frame.scale)
    head = Head(sight.mesh * frame.scale, camera)
    eyes = gaze(head)
    intensities = action_units.intensities(head.frontal)
    scale, _, offset = head.similarity
    blocks: dict[str, ArrayLike] = {
        "face_id": number,
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
