"""Several faces in a clip: who is who from picture to picture, and whose mouth moves to the sound.

A face is recognised by its place alone: nothing about a person is computed or kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import librosa
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from preprocessing.clip import SOUND_RATE, ChosenBy, Sound
from preprocessing.openface_columns import INDEX, points

Rows = NDArray[np.float32]

SAME_FACE: Final = 0.2
"""Least overlap (intersection over union) of the boxes of one face in pictures that follow."""

REMEMBERED_SECONDS: Final = 2.0
"""How long a face that is lost keeps its number, should it come back to its place (s)."""

LEAST_SECONDS: Final = 1.0
"""Least time that a face must be seen for its mouth to be compared with the sound (s)."""

_OUTER_LIPS: Final = ((50, 58), (51, 57), (52, 56))
"""Upper and lower points of the outer lip (iBUG 300-W)."""


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


@dataclass(slots=True)
class FaceNumbers:
    """Numbers faces from 0, the same face alike for as long as its place is.

    Attributes:
        places: last box of every face that is remembered, and when it was seen (s).
        count: faces numbered so far.
    """

    places: dict[int, tuple[Box, float]] = field(default_factory=dict)
    count: int = 0

    def assign(self, boxes: Sequence[Box], seconds: float) -> list[int]:
        """Numbers of the faces of one picture, by the greatest sum of overlaps.

        Args:
            boxes: of the picture's faces.
            seconds: the picture's time, not before that of the last (s).
        """
        self.places = {
            face: place
            for face, place in self.places.items()
            if seconds - place[1] <= REMEMBERED_SECONDS
        }
        known = list(self.places)
        overlaps = np.array(
            [[box.overlap(self.places[face][0]) for face in known] for box in boxes]
        ).reshape(len(boxes), len(known))
        numbers = [-1] * len(boxes)
        for row, column in zip(*linear_sum_assignment(overlaps, maximize=True), strict=True):
            if overlaps[row, column] >= SAME_FACE:
                numbers[row] = known[column]
        for index, box in enumerate(boxes):
            if numbers[index] < 0:
                numbers[index] = self.count
                self.count += 1
            self.places[numbers[index]] = (box, seconds)
        return numbers


def rank_faces(rows: Rows, sound: Sound | None) -> tuple[list[int], ChosenBy]:
    """The faces of a clip, the one to take first.

    With sound, by how well the mouth goes with it; without, or where no face was seen long enough,
    by the sum of their sizes over the pictures.

    Args:
        rows: (rows, 714) every face of every picture, numbered by ``face_id``.
        sound: the clip's.

    Returns:
        Face numbers, and why the first is the first.
    """
    seen = rows[rows[:, INDEX["success"]] == 1]
    faces = [int(face) for face in np.unique(seen[:, INDEX["face_id"]])]
    of = {face: seen[seen[:, INDEX["face_id"]] == face] for face in faces}
    faces.sort(key=lambda face: -float(np.sum(of[face][:, INDEX["p_scale"]] ** 2)))
    if len(faces) < 2:
        return faces, "only"
    energy = None if sound is None else _energy(sound)
    if energy is None:
        return faces, "size"
    matches = {face: speech_match(of[face], energy) for face in faces}
    if not any(np.isfinite(match) for match in matches.values()):
        return faces, "size"
    # Faces that were seen too shortly come last, in their order by size.
    return sorted(faces, key=lambda face: -np.nan_to_num(matches[face], nan=-np.inf)), "speech"


def first_face(rows: Rows, ranking: Sequence[int]) -> Rows:
    """(714,) of a picture's faces (faces, 714) the one that comes first in `rank_faces`' order."""
    rank = {face: place for place, face in enumerate(ranking)}
    places = [rank.get(int(face), len(rank)) for face in rows[:, INDEX["face_id"]]]
    first: Rows = rows[int(np.argmin(places))]
    return first


ENERGY_RATE: Final = 50
"""Sound energy values a second (1/s)."""


def _energy(sound: Sound) -> NDArray[np.float64] | None:
    """(steps,) logarithm of the sound's energy at `ENERGY_RATE`; None for silence."""
    hop = SOUND_RATE // ENERGY_RATE
    level = librosa.feature.rms(y=sound.samples, frame_length=4 * hop, hop_length=hop)[0]
    if not level.max(initial=0.0) > 0:
        return None
    # 60 dB below the loudest is silence.
    energy: NDArray[np.float64] = np.log(np.maximum(level, 1e-3 * level.max()).astype(np.float64))
    return energy


def speech_match(rows: Rows, energy: NDArray[np.float64]) -> float:
    """How well a mouth goes with a sound: -2..2, NaN where too little of the face was seen.

    The sum of two correlations: of the mouth's opening with the sound's logarithmic energy, and of
    the speed of opening and closing with it.

    Args:
        rows: (pictures, 714) of one face, in the order of time.
        energy: (steps,) at `ENERGY_RATE`.
    """
    seconds = rows[:, INDEX["timestamp"]].astype(np.float64)
    place = np.round(seconds * ENERGY_RATE).astype(int)
    inside = place < len(energy)
    if inside.sum() < 4 or np.ptp(seconds[inside]) < LEAST_SECONDS:
        return float("nan")
    lips = points(rows[inside], "", "XYZ").astype(np.float64)
    opening = np.mean(
        [np.linalg.norm(lips[:, upper] - lips[:, lower], axis=1) for upper, lower in _OUTER_LIPS],
        axis=0,
    )
    speed = np.abs(np.gradient(opening, seconds[inside]))
    heard = energy[place[inside]]
    if min(opening.std(), speed.std(), heard.std()) < 1e-9:
        return 0.0
    return float(np.corrcoef(opening, heard)[0, 1] + np.corrcoef(speed, heard)[0, 1])
