"""The command that writes OpenFace's file of a clip."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from examples.sample_clip import sample_clip
from preprocessing.openface import main, write_faces
from preprocessing.openface_columns import COLUMNS, INDEX, empty_rows, indices
from preprocessing.openface_csv import read_csv


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    path.write_bytes(sample_clip(seconds=0.4))
    return path


def made(clip: Path, *options: str) -> pd.DataFrame:
    """The command's file, read as pandas' users read OpenFace's."""
    out = clip.with_suffix(".csv")
    assert main([str(clip), "-o", str(out), *options]) == 0
    return pd.read_csv(out)


def test_every_picture_or_a_chosen_rate(clip: Path) -> None:
    every = made(clip)
    assert list(every.columns) == list(COLUMNS)
    assert every["frame"].tolist() == list(range(1, len(every) + 1))
    assert len(every) == 10
    assert (every["success"] == 1).all()
    thinned = made(clip, "--rate", "5")
    assert thinned["frame"].tolist() == [1, 6]
    found = read_csv(clip.with_suffix(".csv"), pictures_per_second=5)
    assert found.frames == found.frames_with_face == 2


def test_the_camera_is_the_one_that_is_given(clip: Path) -> None:
    guessed = made(clip, "--rate", "5")
    camera = ["--fx", "2000", "--fy", "2000", "--cx", "320", "--cy", "240"]
    longer = made(clip, "--rate", "5", *camera)
    np.testing.assert_array_equal(longer["x_30"], guessed["x_30"])
    # Seen through a longer lens, a face of the same size is farther away: OpenFace's guess is 500.
    assert (longer["pose_Tz"] / guessed["pose_Tz"]).to_numpy() == pytest.approx(4.0, rel=0.05)


def test_half_a_camera_is_refused(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(clip), "-o", str(clip.with_suffix(".csv")), "--fx", "500"])
    assert "--cy" in capsys.readouterr().err


def test_a_clip_that_is_none_is_told_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no clip")
    assert main([str(tmp_path / "clip.mp4"), "-o", str(tmp_path / "clip.csv")]) == 1
    assert "not recognised as media" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert main([str(tmp_path / "none.mp4"), "-o", str(tmp_path / "clip.csv")]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'none.mp4'}: No such file or directory\n"


def test_a_folder_that_is_not_there_is_named_and_not_the_clip(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "nowhere" / "clip.csv"
    assert main([str(clip), "-o", str(target)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"{target}.partial: No such file or directory"
    )


def pictures() -> Iterator[NDArray[np.float32]]:
    """Three pictures: faces 0 and 1, the second larger; face 0 alone; nobody."""
    for index, faces in enumerate(((0, 1), (0,), ())):
        rows = empty_rows(max(1, len(faces)))
        rows[:, indices(("frame", "timestamp"))] = (index + 1, index / 10)
        for row, face in zip(rows, faces, strict=False):
            row[indices(("face_id", "success", "confidence", "p_scale"))] = (face, 1, 1, 1 + face)
        yield rows


def written(target: io.StringIO) -> list[tuple[int, int, int]]:
    table = pd.read_csv(io.StringIO(target.getvalue()))
    return [tuple(row) for row in table[["frame", "face_id", "success"]].to_numpy().tolist()]


def test_all_faces_or_the_largest_where_it_is_seen() -> None:
    every, one = io.StringIO(), io.StringIO()
    write_faces(pictures(), every, every_face=True)
    assert written(every) == [(1, 0, 1), (1, 1, 1), (2, 0, 1), (3, 0, 0)]
    write_faces(pictures(), one, every_face=False)
    assert written(one) == [(1, 1, 1), (2, 0, 1), (3, 0, 0)]


def test_a_clip_without_pictures_is_a_file_without_rows() -> None:
    target = io.StringIO()
    write_faces(iter(()), target, every_face=False)
    assert len(target.getvalue().splitlines()) == 1
    assert len(COLUMNS) == len(target.getvalue().split(",")) == len(INDEX)
