"""The tracker on the portrait, on pictures without a face, and on real clips."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from weakref import ref

import numpy as np
import pytest
from numpy.typing import NDArray

from examples.sample_clip import portrait
from preprocessing import face
from preprocessing.clip import DecodeLimits, FaceFeatures, Frame
from preprocessing.decode import ClipReader
from preprocessing.errors import ClipTooLong
from preprocessing.face import FaceTracker, enlarge_small_still
from preprocessing.face_rows import MODEL_COLUMNS, UNSUPPORTED_COLUMNS
from preprocessing.mediapipe_quietly import quiet
from preprocessing.openface_columns import COLUMNS, INDEX, group, indices, points
from preprocessing.sight import FaceGraphs, Sight

Picture = NDArray[np.uint8]
RATE = 10
GREY = np.full((480, 640, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def tracker() -> Iterator[FaceTracker]:
    with FaceTracker() as shared:
        yield shared


def frames(*pictures: Picture, scale: float = 1.0) -> list[Frame]:
    return [Frame(p, index / RATE, index, scale) for index, p in enumerate(pictures)]


def analysed(tracker: FaceTracker, *pictures: Picture, scale: float = 1.0) -> FaceFeatures:
    return tracker.analyse(frames(*pictures, scale=scale), pictures_per_second=RATE)


def test_a_face_gives_every_supported_column(tracker: FaceTracker) -> None:
    found = analysed(tracker, portrait(0.0), portrait(0.1))
    assert (found.frames, found.frames_with_face, found.faces) == (2, 2, 1)
    assert found.source == "built-in"
    assert found.values.shape == (2, 714)
    assert found.values.dtype == np.float32
    missing = {name for name in COLUMNS if np.isnan(found.values[:, INDEX[name]]).any()}
    assert missing == set(UNSUPPORTED_COLUMNS)
    assert found.values[:, INDEX["frame"]].tolist() == [1, 2]
    assert found.values[:, INDEX["timestamp"]] == pytest.approx([0, 0.1])


def test_values_are_in_range_and_where_the_face_is(tracker: FaceTracker) -> None:
    row = analysed(tracker, portrait(0.0)).values
    units = row[:, indices(group("au_intensity").columns)]
    assert ((units >= 0) & (units <= 5)).all()
    vectors = row[:, indices(group("gaze").columns)].reshape(2, 3)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx((1, 1))
    landmarks = points(row, "", "xy")[0]
    # The portrait's eyes are in the upper half; the picture's left eye has the lower numbers.
    assert landmarks[36, 0] < landmarks[45, 0]
    assert landmarks[27, 1] < landmarks[8, 1]
    assert np.abs(landmarks.mean(0) - (320, 240)) == pytest.approx((0, 0), abs=60)
    assert row[0, INDEX["AU12_r"]] > 1, "the astronaut smiles"


def test_pixels_are_those_of_the_original_picture(tracker: FaceTracker) -> None:
    plain = analysed(tracker, portrait(0.0)).values
    tripled = analysed(tracker, portrait(0.0), scale=3.0).values
    for prefix in ("", "eye_lmk_"):
        assert points(tripled, prefix, "xy") == pytest.approx(3 * points(plain, prefix, "xy"))
    # The default camera grows with the picture: mm, angles and units stay.
    for name in ("gaze", "pose_rotation", "landmarks_3d", "au_intensity"):
        columns = indices(group(name).columns)
        assert tripled[:, columns] == pytest.approx(plain[:, columns], rel=1e-3, abs=1e-3)


def test_no_face(tracker: FaceTracker) -> None:
    found = analysed(tracker, GREY, GREY)
    assert (found.frames, found.frames_with_face, found.faces) == (2, 0, 0)
    assert found.values[:, INDEX["success"]].tolist() == [0, 0]
    assert np.isnan(found.values[:, indices(group("au_intensity").columns)]).all()


def test_no_frames(tracker: FaceTracker) -> None:
    found = analysed(tracker)
    assert found.values.shape == (0, 714)
    assert (found.frames, found.faces) == (0, 0)


def test_a_face_that_comes_and_goes(tracker: FaceTracker) -> None:
    found = analysed(tracker, GREY, portrait(0.0), GREY, portrait(0.0))
    assert found.values[:, INDEX["success"]].tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(found.values[1, 5:], found.values[3, 5:])


@pytest.mark.parametrize("shape", [(1, 1), (1, 640), (15, 15), (16, 16)])
def test_tiny_pictures(tracker: FaceTracker, shape: tuple[int, int]) -> None:
    picture = np.zeros((*shape, 3), np.uint8)
    assert analysed(tracker, picture).frames_with_face == 0
    assert tracker.analyse_still(picture).frames_with_face == 0


def test_nothing_is_carried_from_clip_to_clip(tracker: FaceTracker) -> None:
    first = analysed(tracker, portrait(0.0), portrait(0.5))
    analysed(tracker, GREY, np.ascontiguousarray(portrait(1.0)[:, ::-1]))
    again = analysed(tracker, portrait(0.0), portrait(0.5))
    np.testing.assert_array_equal(first.values, again.values)


def test_columns_for_the_model_are_the_same_and_no_others_are_there(tracker: FaceTracker) -> None:
    pictures = frames(portrait(0.0), GREY)
    whole, part = (
        np.concatenate(list(tracker.rows(pictures, pictures_per_second=RATE, complete=complete)))
        for complete in (True, False)
    )
    used = indices(MODEL_COLUMNS)
    np.testing.assert_array_equal(part[:, used], whole[:, used])
    assert np.isfinite(part[0, used]).all()
    assert np.isnan(np.delete(part, used, axis=1)).all()


def test_threads_change_no_value() -> None:
    pictures = [portrait(index / 10) for index in range(35)]
    pictures[3] = np.zeros_like(pictures[3])
    found = []
    for threads in (1, 3):
        with FaceTracker(threads) as tracker:
            found.append(analysed(tracker, *pictures).values)
    np.testing.assert_array_equal(found[0], found[1])
    assert np.flatnonzero(found[0][:, INDEX["success"]] == 0).tolist() == [3]


def test_a_clip_that_breaks_off_leaves_the_tracker_usable(tracker: FaceTracker) -> None:
    def broken() -> Iterator[Frame]:
        yield from frames(*[portrait(0.0)] * 5)
        raise ClipTooLong("too long")

    with pytest.raises(ClipTooLong):
        tracker.analyse(broken(), pictures_per_second=RATE)
    assert analysed(tracker, portrait(0.0)).frames_with_face == 1


def test_a_look_that_fails_is_told_however_many_pictures_wait(
    tracker: FaceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_graphs: FaceGraphs, _rgb: Picture, _before: object) -> list[Sight]:
        raise RuntimeError("no graph")

    with monkeypatch.context() as patch:
        patch.setattr(FaceGraphs, "follow", failing)
        with pytest.raises(RuntimeError, match="no graph"):
            analysed(tracker, *[portrait(0.0)] * 60)
    assert analysed(tracker, portrait(0.0)).frames_with_face == 1


def test_few_pictures_are_held_however_slow_the_look(
    tracker: FaceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[ref[Picture]] = []
    most = 0

    def counted() -> Iterator[Frame]:
        nonlocal most
        for frame in frames(*[portrait(0.0)] * 60):
            copy = replace(frame, rgb=frame.rgb.copy())
            handed.append(ref(copy.rgb))
            most = max(most, sum(one() is not None for one in handed))
            yield copy

    monkeypatch.setattr(face, "HELD_BYTES", 4 * portrait(0.0).nbytes)
    tracker.analyse(counted(), pictures_per_second=RATE)
    # Two stretches' that wait; one that is looked at, one that is handed over, and one as a copy.
    assert most <= 2 * 4 + 3


def test_faces_are_looked_for_once_a_stretch_and_where_one_is_lost(
    tracker: FaceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0
    look = FaceGraphs.look

    def counted(graphs: FaceGraphs, rgb: Picture) -> list[Sight]:
        nonlocal looked
        looked += 1
        return look(graphs, rgb)

    monkeypatch.setattr(FaceGraphs, "look", counted)
    pictures = [portrait(0.0)] * 66
    # 66 pictures at 10 a second: three stretches of at most 3.2 s.
    assert analysed(tracker, *pictures).frames_with_face == 66
    assert looked == 3
    looked = 0
    pictures[2] = np.zeros_like(pictures[2])
    # Looked for at the start, when lost, and when it is to be found again.
    assert analysed(tracker, *pictures[:5]).frames_with_face == 4
    assert looked == 3


def test_followed_meshes_are_those_that_are_found(tracker: FaceTracker) -> None:
    followed = analysed(tracker, *(portrait(index / 10) for index in range(8))).values
    for index, row in enumerate(followed):
        found = analysed(tracker, portrait(index / 10)).values
        near, here = (points(rows, "", "xy")[:, 17:] for rows in (row[None], found))
        assert np.abs(near - here).mean() < 2


def test_a_second_face_is_seen_with_the_next_stretch(tracker: FaceTracker) -> None:
    large = portrait(0.0)
    alone = np.hstack([large, np.zeros_like(large)])
    found = analysed(tracker, *[alone] * 4, *[np.hstack([large, large])] * 32)
    assert found.faces == 2


def test_the_followed_face_stays_the_same_and_both_are_counted(tracker: FaceTracker) -> None:
    small, large = portrait(0.0, 320, 240), portrait(0.0)
    left_large = np.hstack([large, np.pad(small, ((0, 240), (0, 0), (0, 0)))])
    right_small = np.hstack([np.pad(small, ((0, 240), (0, 320), (0, 0))), large[:, :320]])
    found = analysed(tracker, left_large, left_large, right_small)
    assert found.faces == 2
    middle = points(found.values, "", "xy").mean(1)
    assert middle[:2, 0] == pytest.approx((320, 320), abs=60)
    assert found.chosen_by == "size"


def test_one_person_at_two_places_was_no_choice(tracker: FaceTracker) -> None:
    small = portrait(0.0, 320, 240)
    places = [np.pad(small, ((0, 240), side, (0, 0))) for side in ((0, 640), (640, 0))]
    found = analysed(tracker, *places)
    assert set(found.values[:, INDEX["face_id"]]) == {0, 1}
    assert (found.frames_with_face, found.faces, found.chosen_by) == (2, 1, "only")


def test_only_the_first_picture_of_a_tick_is_analysed(tracker: FaceTracker) -> None:
    times = (0.0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24, 0.5)
    clip = [Frame(GREY[:32, :32], seconds, index) for index, seconds in enumerate(times)]
    found = tracker.analyse(clip, pictures_per_second=10)
    assert found.values[:, INDEX["frame"]].tolist() == [1, 4, 6, 8]


def test_stills(tracker: FaceTracker) -> None:
    assert tracker.analyse_still(portrait(0.0)).frames_with_face == 1
    face = portrait(0.0)[130:350, 210:430]
    small = np.asarray(face[::4, ::4].mean(2), np.uint8)
    enlarged = enlarge_small_still(small)
    assert enlarged.shape == (288, 288, 3)
    assert (enlarged[0, 0] == enlarged[48, 48]).all()
    found = tracker.analyse_still(enlarged)
    assert found.frames_with_face == 1
    units = found.values[:, indices(group("au_intensity").columns)]
    assert ((units >= 0) & (units <= 5)).all()


def test_starting_and_using_the_tracker_writes_nothing() -> None:
    script = (
        "from examples.sample_clip import portrait\n"
        "from preprocessing.face import FaceTracker\n"
        "assert FaceTracker().analyse_still(portrait(0.0)).frames_with_face == 1\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, cwd=Path.cwd()
    )
    assert done.stderr == b""
    assert done.stdout == b""


def test_other_lines_than_the_known_noise_pass(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        os.write(2, b"something else is wrong\n")
    assert capfd.readouterr().err == "something else is wrong\n"


@pytest.mark.parametrize(
    ("name", "with_face", "faces"),
    [
        ("pyfeat_no_face.mp4", (0, 0), 0),
        ("moviepy_1x1px.mp4", (0, 0), 0),
        ("pyfeat_face_then_noface_hevc.mov", (0.2, 0.6), 1),
        ("two_faces_side_by_side.mp4", (1, 1), 2),
        ("grid_swiz3n.mpg", (1, 1), 1),
    ],
)
def test_real_clips(
    tracker: FaceTracker,
    real_clips: Path,
    name: str,
    with_face: tuple[float, float],
    faces: int,
) -> None:
    clip = ClipReader(real_clips / name, DecodeLimits()).frames(RATE)
    found = tracker.analyse(clip, pictures_per_second=RATE)
    low, high = with_face
    assert low <= found.frames_with_face / found.frames <= high
    assert found.faces == faces
    assert found.values[:, INDEX["success"]].sum() == found.frames_with_face
