"""Who is who from picture to picture, and whose mouth moves to the sound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.clip import SOUND_RATE, DecodeLimits, Sound
from preprocessing.decode import ClipReader
from preprocessing.face import FaceTracker
from preprocessing.openface_columns import INDEX, empty_rows, group, indices, points
from preprocessing.speaker import ENERGY_RATE, Box, FaceNumbers, rank_faces, speech_match

LEFT, RIGHT = Box(0, 0, 40, 40, 0.9), Box(100, 0, 40, 40, 0.9)


def moved(box: Box, by: float) -> Box:
    return Box(box.left + by, box.top, box.width, box.height, box.score)


def test_overlap_of_boxes() -> None:
    box = Box(0, 0, 4, 3, score=0.9)
    assert box.overlap(box) == 1
    assert box.overlap(Box(2, 0, 4, 3, score=0.9)) == pytest.approx(6 / 18)
    assert box.overlap(Box(4, 0, 4, 3, score=0.9)) == 0


def test_a_face_keeps_its_number_while_it_moves() -> None:
    numbers = FaceNumbers()
    assert numbers.assign([LEFT, RIGHT], 0.0) == [0, 1]
    assert numbers.assign([moved(RIGHT, 9), moved(LEFT, 9)], 0.1) == [1, 0]
    assert numbers.assign([moved(LEFT, 18)], 0.2) == [0]
    # Back at its place after a while it is the same face, and after long another.
    assert numbers.assign([moved(RIGHT, 9)], 1.5) == [1]
    assert numbers.assign([moved(LEFT, 18)], 3.0) == [2]
    assert numbers.assign([], 3.1) == []
    assert numbers.count == 3


def test_numbers_go_by_the_greatest_sum_of_overlaps() -> None:
    numbers = FaceNumbers()
    numbers.assign([LEFT, moved(LEFT, 30)], 0.0)
    # The first overlaps both; the second only one of them.
    assert numbers.assign([moved(LEFT, 14), moved(LEFT, -4)], 0.1) == [1, 0]


RATE = 10
SPEAKING = np.tile([1.0, 0.2, 0.8, 0.0, 0.0, 0.6, 1.0, 0.1, 0.0, 0.9], 3)


def sound(loudness: NDArray[np.float64] = SPEAKING) -> Sound:
    """A tone that is this loud in each tenth of a second."""
    level = np.repeat(loudness, SOUND_RATE // RATE)
    wave = np.sin(2 * np.pi * 200 * np.arange(len(level)) / SOUND_RATE)
    return Sound((0.3 * level * wave).astype(np.float32))


def face(number: int, opening: NDArray[np.float64], size: float = 1.0) -> NDArray[np.float32]:
    """Rows of a face whose mouth is open this far (cm)."""
    rows = empty_rows(len(opening))
    rows[:, INDEX["frame"]] = np.arange(1, len(opening) + 1)
    rows[:, INDEX["timestamp"]] = np.arange(len(opening)) / RATE
    rows[:, indices(("face_id", "success", "confidence", "p_scale"))] = (number, 1, 0.9, size)
    rows[:, indices(group("landmarks_3d").columns)] = 0
    for point in (56, 57, 58):
        rows[:, INDEX[f"Y_{point}"]] = 10 * opening
    return rows


def test_the_face_that_speaks_comes_first_however_small() -> None:
    still = np.full(30, 0.5)
    others = np.roll(SPEAKING, 4)
    clip = np.concatenate([face(0, still, 3.0), face(1, others, 2.0), face(2, SPEAKING, 1.0)])
    ranking, why = rank_faces(clip, sound())
    assert (ranking[0], why) == (2, "speech")
    assert rank_faces(clip, None) == ([0, 1, 2], "size")
    assert rank_faces(clip, sound(np.zeros(30))) == ([0, 1, 2], "size")


def test_one_face_is_the_only_one_and_no_face_none() -> None:
    assert rank_faces(face(7, SPEAKING), sound()) == ([7], "only")
    assert rank_faces(empty_rows(5), sound()) == ([], "only")


def test_a_face_seen_for_a_moment_is_not_taken_for_the_speaker() -> None:
    moment = face(0, SPEAKING, 5.0)[:6]
    clip = np.concatenate([moment, face(1, np.full(30, 0.5))])
    assert rank_faces(clip, sound()) == ([1, 0], "speech")
    assert rank_faces(np.concatenate([moment, face(1, SPEAKING)[:6]]), sound())[1] == "size"


def test_match_by_hand() -> None:
    energy = np.repeat(np.tile([0.0, 1.0], 10), ENERGY_RATE // RATE)
    rows = face(0, np.tile([0.0, 1.0], 10))
    # Open with each sound: 1. Its speed is 0 within, where neighbours are alike on both sides.
    assert speech_match(rows, energy) == pytest.approx(1.0, abs=0.2)
    assert speech_match(face(0, np.full(20, 0.3)), energy) == 0
    assert np.isnan(speech_match(rows[:3], energy))


@pytest.fixture(scope="module")
def both(real_clips: Path) -> Iterator[list[NDArray[np.float32]]]:
    clip = ClipReader(real_clips / "two_faces_side_by_side.mp4", DecodeLimits())
    with FaceTracker() as tracker:
        yield list(tracker.rows(clip.frames(RATE), pictures_per_second=RATE))


@pytest.mark.parametrize(("voice", "side"), [("grid_bbaf2n.mpg", 0), ("grid_swiz3n.mpg", 1)])
def test_of_two_talkers_the_one_whose_sound_it_is(
    both: list[NDArray[np.float32]], real_clips: Path, voice: str, side: int
) -> None:
    heard = ClipReader(real_clips / voice, DecodeLimits()).sound()
    rows = np.concatenate(both)
    ranking, why = rank_faces(rows, heard)
    assert why == "speech"
    assert len(ranking) == 2
    of_face = rows[rows[:, INDEX["face_id"]] == ranking[0]]
    # The picture is 720 px wide, a half a talker.
    assert (points(of_face, "", "xy")[..., 0].mean() > 360) == bool(side)
