"""OpenFace's columns, and its files: real ones, ours, and broken ones."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from preprocessing import openface_csv
from preprocessing.clip import FaceFeatures
from preprocessing.errors import InvalidOpenFaceCsv
from preprocessing.openface_columns import (
    COLUMNS,
    GROUPS,
    INDEX,
    UNIT,
    empty_rows,
    group,
    indices,
    points,
)
from preprocessing.openface_csv import DECIMALS, read_csv, write_header, write_rows
from tests.preprocessing.heads import REAL_OPENFACE

RATE = 10
AUS = group("au_intensity").columns
real_openface = pytest.mark.skipif(
    not REAL_OPENFACE.is_dir(), reason="needs the OpenFace files in ../shared/openface"
)


def csv(rows: list[dict[str, object]], header: str | None = None) -> bytes:
    """A file with these rows; AU intensities that are not given are 0."""
    full = [dict.fromkeys(AUS, "0.00") | row for row in rows]
    names = list(full[0])
    lines = [",".join(str(row[name]) for name in names) for row in full]
    return "\n".join([header or ",".join(names), *lines, ""]).encode()


def rows(count: int, fps: float = 25, **more: object) -> list[dict[str, object]]:
    return [
        {"frame": i + 1, "timestamp": f"{i / fps:.3f}", "confidence": 0.98, "success": 1} | more
        for i in range(count)
    ]


def read(data: bytes) -> FaceFeatures:
    return read_csv(data, pictures_per_second=RATE)


def written(values: NDArray[np.float32]) -> str:
    """Rows (rows, 714) as a file."""
    target = io.StringIO()
    write_header(target)
    write_rows(values, target)
    return target.getvalue()


def column(features: FaceFeatures, name: str) -> list[float]:
    values: list[float] = features.values[:, INDEX[name]].tolist()
    return values


# --- columns


def test_counts_of_the_groups() -> None:
    counts = {part.name: len(part.columns) for part in GROUPS}
    assert len(COLUMNS) == len(set(COLUMNS)) == 714
    assert counts["gaze"] + counts["gaze_angle"] == 8
    assert counts["eye_2d"] + counts["eye_3d"] == 280
    assert counts["pose_translation"] + counts["pose_rotation"] == 6
    assert (counts["landmarks_2d"], counts["landmarks_3d"]) == (136, 204)
    assert (counts["shape_rigid"], counts["shape_non_rigid"]) == (6, 34)
    assert (counts["au_intensity"], counts["au_presence"]) == (17, 18)
    assert UNIT["pose_Tz"] == "mm"
    assert UNIT["eye_lmk_y_55"] == "px"
    assert set(UNIT) == set(COLUMNS)


@real_openface
def test_the_columns_are_openfaces() -> None:
    header = (REAL_OPENFACE / "icface_00116" / "00116.csv").read_text().partition("\n")[0]
    assert tuple(name.strip() for name in header.split(",")) == COLUMNS


def test_columns_by_name() -> None:
    assert [COLUMNS[i] for i in indices(["AU12_r", "x_3"])] == ["AU12_r", "x_3"]
    with pytest.raises(KeyError):
        indices(["AU99_r"])
    with pytest.raises(KeyError):
        group("nose")
    values = np.arange(2 * 714, dtype=np.float32).reshape(2, 714)
    assert points(values, "", "xy")[1, 5].tolist() == [
        714 + INDEX["x_5"],
        714 + INDEX["y_5"],
    ]
    assert points(values, "eye_lmk_", "XYZ").shape == (2, 56, 3)


# --- real files


@real_openface
@pytest.mark.parametrize(
    ("name", "frames", "with_face"),
    [
        ("icface_00116/00116.csv", 199, 199),
        ("openface_default/default.csv", 192, 192),
        ("act409_clip10/clip10.csv", 100, 100),
        ("act409_clip2/clip2.csv", 96, 88),
    ],
)
def test_real_files(name: str, frames: int, with_face: int) -> None:
    found = read_csv(REAL_OPENFACE / name, pictures_per_second=RATE)
    assert (found.frames, found.source) == (frames, "openface_csv")
    assert found.frames_with_face == pytest.approx(with_face, abs=4)
    units = found.values[:, indices(AUS)]
    seen = found.values[:, INDEX["success"]] == 1
    assert ((units[seen] >= 0) & (units[seen] <= 5)).all()
    assert np.isnan(units[~seen]).all()


@real_openface
def test_our_file_of_a_real_file_reads_the_same() -> None:
    found = read_csv(REAL_OPENFACE / "icface_00116" / "00116.csv", pictures_per_second=RATE)
    again = read(written(found.values).encode())
    assert again.values == pytest.approx(found.values, nan_ok=True, abs=1e-6)


# --- writing


def made_up(count: int, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    values = random.uniform(0, 1, (count, 714)).astype(np.float32)
    values[:, INDEX["frame"]] = np.arange(1, count + 1)
    values[:, INDEX["timestamp"]] = np.arange(count) / RATE
    values[:, indices(["success", "face_id"])] = (1, 0)
    values[:, indices(group("shape_non_rigid").columns)] = np.nan
    return values


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read_to_openfaces_decimals(count: int, seed: int) -> None:
    values = made_up(count, seed)
    text = written(values)
    assert text.startswith("frame,face_id,timestamp,confidence,success,gaze_0_x,")
    found = read(text.encode())
    assert found.frames == found.frames_with_face == count
    for part in GROUPS:
        columns = indices(part.columns)
        error = 0.51 * 10.0 ** -DECIMALS.get(part.name, 0)
        assert found.values[:, columns] == pytest.approx(values[:, columns], abs=error, nan_ok=True)


def test_rows_without_a_face_stay_so() -> None:
    values = empty_rows(2)
    values[:, indices(["frame", "timestamp"])] = [(1, 0), (2, 0.1)]
    found = read(written(values).encode())
    assert (found.frames, found.frames_with_face, found.faces) == (2, 0, 0)
    np.testing.assert_array_equal(found.values, values)


# --- reading


def test_intensities_alone_are_enough() -> None:
    found = read(csv([{"AU12_r": "2.50"}, {"AU12_r": "1.00"}]))
    # Without timestamps 30 frames a second: both lie in the first tenth of a second.
    assert column(found, "AU12_r") == [2.5]
    assert (found.frames, found.frames_with_face, found.faces) == (1, 1, 1)
    assert np.isnan(found.values[:, INDEX["pose_Tx"]]).all()


def test_headers_may_carry_spaces_a_mark_and_foreign_columns() -> None:
    plain = csv(rows(3, AU12_r="1.5", FE1=7))
    names = plain.partition(b"\n")[0].decode().split(",")
    spaced = csv(rows(3, AU12_r="1.5", FE1=7), header=", ".join(names))
    for data in (spaced, b"\xef\xbb\xbf" + plain, plain.replace(b"\n", b"\r\n")):
        np.testing.assert_array_equal(read(data).values, read(plain).values)


def test_rows_are_taken_at_our_rate() -> None:
    found = read(csv(rows(26)))
    assert found.frames == 11
    # At 25 a second the first picture of each tenth: 0, .12, .2, .32, .4, ...
    assert column(found, "frame")[:5] == [1, 4, 6, 9, 11]


def test_rows_out_of_order_are_put_in_order() -> None:
    assert column(read(csv(rows(26)[::-1])), "frame") == column(read(csv(rows(26))), "frame")


def test_of_several_faces_the_one_seen_longest_is_taken() -> None:
    long = rows(10, fps=RATE, face_id=1, AU12_r="1")
    short = rows(6, fps=RATE, face_id=0, AU12_r="2")
    found = read(csv(short + long))
    assert found.faces == 2
    assert set(column(found, "face_id")) == {1}
    assert set(column(found, "AU12_r")) == {1}


def test_a_face_numbered_anew_is_joined() -> None:
    all_rows = rows(10, fps=RATE, face_id=0)
    for row in all_rows[6:]:
        row["face_id"] = 1
    found = read(csv(all_rows))
    assert (found.frames, found.frames_with_face, found.faces) == (10, 10, 1)


def test_what_openface_writes_of_a_lost_face_is_dropped() -> None:
    lost = rows(2, fps=RATE, pose_Tx="5.0")
    lost[1] |= {"success": 0, "confidence": 0.1}
    found = read(csv(lost))
    assert found.frames_with_face == 1
    assert column(found, "pose_Tx")[0] == 5
    assert np.isnan(found.values[1, INDEX["pose_Tx"]])
    assert np.isnan(found.values[1, INDEX["AU12_r"]])


def test_image_mode_without_frames() -> None:
    found = read(csv([{"face": 0, "confidence": 0.9}]))
    assert (found.frames, found.frames_with_face) == (1, 1)


GOOD = csv(rows(3))
NAMES = GOOD.partition(b"\n")[0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "lacks AU01_r"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"<html></html>", "lacks AU01_r"),
        (NAMES, "no rows"),
        (GOOD.replace(b"AU12_r", b"AU12"), "lacks AU12_r"),
        (GOOD.replace(b"AU12_r", b"AU14_r"), "AU14_r"),
        (csv(rows(3, AU06_r="high")), "Column AU06_r .* 'high' in line 2; expected a number"),
        (csv([*rows(2), *rows(1, AU06_r="5.01")]), "Column AU06_r .* line 4; expected 0 to 5"),
        (csv(rows(3, AU06_r="-1")), "AU06_r"),
        (csv(rows(3, AU06_r="inf")), "AU06_r"),
        (csv(rows(3, AU06_r="9" * 400)), "AU06_r"),
        (csv(rows(3, AU06_r="")), "AU06_r"),
        (csv(rows(3, AU06_r="\x00")), "AU06_r"),
        (csv(rows(3, AU06_r='"1"')), "AU06_r"),
        (csv(rows(3, pose_Tx="1e30")), "pose_Tx"),
        (csv(rows(3, confidence="1.2")), "confidence"),
        (csv(rows(3, timestamp="nan")), "timestamp"),
        (csv(rows(3, timestamp="-1")), "timestamp"),
        (GOOD[:-8], "Line 4 .* cells"),
        (GOOD.replace(b"\n", b",\n").replace(b",\n", b"\n", 1), "Line 2 .* cells"),
        (NAMES + b",x" * 1000 + b"\n", "columns"),
    ],
    ids=str,
)
def test_files_that_cannot_be_used(data: bytes, message: str) -> None:
    with pytest.raises(InvalidOpenFaceCsv, match=message):
        read(data)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidOpenFaceCsv, match=r"until 11\.0 s"):
        read_csv(csv(rows(12, fps=1)), pictures_per_second=RATE, longest_seconds=10)
    monkeypatch.setattr(openface_csv, "MOST_ROWS", 2)
    with pytest.raises(InvalidOpenFaceCsv, match="3 rows"):
        read(GOOD)
    monkeypatch.setattr(openface_csv, "MOST_BYTES", 100)
    with pytest.raises(InvalidOpenFaceCsv, match="bytes"):
        read(GOOD)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(GOOD)))
def test_any_bytes_are_read_or_refused(noise: bytes, place: int) -> None:
    for data in (noise, GOOD[:place] + noise + GOOD[place:]):
        try:
            found = read(data)
        except InvalidOpenFaceCsv:
            continue
        assert found.values.shape == (found.frames, 714)


def test_a_file_ends_where_its_clip_does() -> None:
    # 10 s and a slack of 1 s and a fifth: up to 13 s apart from rounding.
    for last, fits in ((7.1, True), (12.9, True), (6.9, False), (13.1, False)):
        data = csv([rows(1)[0], rows(1)[0] | {"frame": 2, "timestamp": last}])
        read_csv(data, pictures_per_second=RATE)
        if fits:
            read_csv(data, pictures_per_second=RATE, clip_seconds=10.0)
            continue
        with pytest.raises(InvalidOpenFaceCsv, match=f"ends at {last} s, the clip at 10.0 s"):
            read_csv(data, pictures_per_second=RATE, clip_seconds=10.0)


def test_without_timestamps_the_length_is_not_known() -> None:
    read_csv(csv([{"AU12_r": "2.50"}] * 3), pictures_per_second=RATE, clip_seconds=40.0)
