"""OpenFace 2.x CSV files: written from our features, read as their replacement."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TextIO

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from preprocessing.clip import ChosenBy, FaceFeatures
from preprocessing.errors import InvalidOpenFaceCsv
from preprocessing.grid import TICK_TOLERANCE
from preprocessing.openface_columns import COLUMNS, GROUPS, INDEX, group, indices

MOST_BYTES: Final = 32 * 2**20
"""Largest file that is read: all columns of a minute at 60 pictures a second are some 15 MB."""

MOST_ROWS: Final = 20_000
"""Most rows that are read."""

MOST_COLUMNS: Final = 1_000
"""Most columns that are read; OpenFace has 714, and other tools append their own."""

FRAMES_PER_SECOND: Final = 30.0
"""Rate that is assumed where a file has no timestamps; OpenFace itself falls back on it."""

DECIMALS: Final = {
    "timestamp": 3,
    "confidence": 2,
    "gaze": 6,
    "gaze_angle": 3,
    "eye_2d": 1,
    "eye_3d": 1,
    "pose_translation": 1,
    "pose_rotation": 3,
    "landmarks_2d": 1,
    "landmarks_3d": 1,
    "shape_rigid": 3,
    "shape_non_rigid": 3,
    "au_intensity": 2,
    "au_presence": 2,
}
"""Decimals that OpenFace writes, by group; the others are whole numbers."""

LENGTH_SLACK: Final = (1.0, 0.2)
"""Seconds, and share of the clip's length, by which a file's last timestamp may lie beside the
clip's end: OpenFace counts at a nominal rate where pictures come unevenly."""

_LARGEST = 1e7
_RANGES: Final = {
    "timestamp": (0.0, _LARGEST),
    "confidence": (0.0, 1.0),
    "success": (0.0, 1.0),
    "au_intensity": (0.0, 5.0),
    "au_presence": (0.0, 1.0),
}
"""Values that are accepted, by group; all others within plus or minus `_LARGEST`."""

_BOOKKEEPING: Final = ("frame", "face_id", "timestamp", "confidence", "success")
_MISSING: Final = ("", "nan", "NaN", "-nan", "-nan(ind)", "nan(ind)")


_FORMS: Final = tuple(
    f"{{:.{DECIMALS.get(part.name, 0)}f}}" for part in GROUPS for _ in part.columns
)


def write_header(target: TextIO) -> None:
    """Write OpenFace's first line."""
    target.write(",".join(COLUMNS) + "\n")


def write_rows(values: NDArray[np.float32], target: TextIO) -> None:
    """Write rows (rows, 714) with OpenFace's decimals; NaN as an empty cell."""
    for row in values.tolist():
        cells = ("" if v != v else form.format(v) for form, v in zip(_FORMS, row, strict=True))
        target.write(",".join(cells) + "\n")


def read_csv(
    source: bytes | Path,
    *,
    pictures_per_second: int,
    longest_seconds: float = np.inf,
    clip_seconds: float = 0.0,
) -> FaceFeatures:
    """Read an OpenFace 2.x file, whatever flags it was made with, at our rate.

    Only the 17 AU intensities must be there; other columns are NaN where they are missing, and
    columns that are not OpenFace's are not read. Where a picture has several rows, that of the
    `face_id` with the greatest sum of confidence is taken, the face seen longest and best; where
    that one is lost, the next: OpenFace numbers a face anew when it finds it again. Of the rows of
    each 1/pictures_per_second the first is taken, as of pictures; without timestamps `frame` counts
    at `FRAMES_PER_SECOND`.

    Args:
        source: the file's bytes, or its path.
        pictures_per_second: rate of the rows returned (1/s).
        longest_seconds: latest timestamp that is accepted (s).
        clip_seconds: length of the clip that the file is of, 0 = unknown; a file whose timestamps
            end elsewhere by more than `LENGTH_SLACK` is refused (s).

    Raises:
        InvalidOpenFaceCsv: too large, not text, no table, a column missing or twice, a cell that is
            no number or out of its range, no rows, too long, or of another clip. The message names
            column and line.
    """
    if isinstance(source, Path):
        source = source.read_bytes()
    table = _table(source)
    values = _values(table)
    if "timestamp" in table:
        _check_length(float(np.nanmax(table["timestamp"])), clip_seconds)
    face, faces = _one_face(values)
    rows = _resample(face, pictures_per_second, longest_seconds)
    seen = rows[:, INDEX["success"]] == 1
    # OpenFace writes zeros, or its last guess, where it has lost the face.
    measured = indices(name for name in COLUMNS if name not in _BOOKKEEPING)
    rows[np.ix_(~seen, measured)] = np.nan
    why: ChosenBy = "confidence" if faces > 1 else "only"
    return FaceFeatures(rows, len(rows), int(seen.sum()), faces, "openface_csv", why)


def _table(data: bytes) -> pd.DataFrame:
    """Parse the cells of OpenFace's columns into numbers; other columns are dropped unread."""
    if len(data) > MOST_BYTES:
        raise InvalidOpenFaceCsv(
            f"The OpenFace CSV has {len(data):,} bytes, at most {MOST_BYTES:,} are accepted."
        )
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InvalidOpenFaceCsv(
            f"The OpenFace CSV is not UTF-8 text (byte {error.start})."
        ) from error
    header, *lines = text.replace("\r\n", "\n").split("\n")
    names = [name.strip() for name in header.split(",")]
    names = ["face_id" if name == "face" else name for name in names]
    _check_names(names)
    names = [name if name in INDEX else f"unread {i}" for i, name in enumerate(names)]
    _check_lines(lines, len(names))

    def parse(cell_type: type) -> pd.DataFrame:
        return pd.read_csv(
            io.StringIO("\n".join(lines)),
            names=names,
            usecols=[position for position, name in enumerate(names) if name in INDEX],
            dtype=cell_type,
            quoting=csv.QUOTE_NONE,
            skipinitialspace=True,
            skip_blank_lines=False,
            keep_default_na=False,
            na_values=list(_MISSING),
        )

    try:
        return parse(np.float64)
    except ValueError as error:
        cells = parse(str)
        for name in map(str, cells):
            numbers = pd.to_numeric(cells[name], errors="coerce")
            _refuse(name, cells[name], (numbers.isna() & cells[name].notna()), "a number")
        raise InvalidOpenFaceCsv(f"The OpenFace CSV is not a table of numbers: {error}") from error


def _check_lines(lines: Sequence[str], columns: int) -> None:
    if not lines:
        raise InvalidOpenFaceCsv("The OpenFace CSV has no rows below its header.")
    if len(lines) > MOST_ROWS:
        raise InvalidOpenFaceCsv(
            f"The OpenFace CSV has {len(lines):,} rows, at most {MOST_ROWS:,} are accepted."
        )
    for number, line in enumerate(lines, start=2):
        cells = line.count(",") + 1
        if cells != columns:
            raise InvalidOpenFaceCsv(
                f"Line {number} of the OpenFace CSV has {cells} cells; its header has {columns}."
            )


def _check_names(names: Sequence[str]) -> None:
    if len(names) > MOST_COLUMNS:
        raise InvalidOpenFaceCsv(
            f"The OpenFace CSV has {len(names)} columns, at most {MOST_COLUMNS} are accepted."
        )
    twice = sorted({name for name in names if names.count(name) > 1 and name in INDEX})
    if twice:
        raise InvalidOpenFaceCsv(f"The OpenFace CSV has a column twice: {', '.join(twice[:5])}.")
    missing = [name for name in group("au_intensity").columns if name not in names]
    if missing:
        raise InvalidOpenFaceCsv(
            f"The OpenFace CSV lacks {', '.join(missing)}. Its first line must name OpenFace 2.x's "
            "columns; run FeatureExtraction with -aus."
        )


def _values(table: pd.DataFrame) -> NDArray[np.float32]:
    """Put checked cells into (rows, 714); columns that are missing are made up for or NaN."""
    ranges = {
        name: _RANGES[part.name] for part in GROUPS if part.name in _RANGES for name in part.columns
    }
    values = np.full((len(table), len(COLUMNS)), np.nan, np.float32)
    for name in map(str, table):
        low, high = ranges.get(name, (-_LARGEST, _LARGEST))
        column = table[name]
        _refuse(name, column, (column < low) | (column > high), f"{low:g} to {high:g}")
        values[:, INDEX[name]] = column
    return _with_defaults(values, table)


def _refuse(name: str, cells: pd.Series, wrong: pd.Series, expected: str) -> None:
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise InvalidOpenFaceCsv(
            f"Column {name} of the OpenFace CSV holds {str(cells.iloc[row])[:40]!r} in line "
            f"{row + 2}; expected {expected}."
        )


def _with_defaults(values: NDArray[np.float32], table: pd.DataFrame) -> NDArray[np.float32]:
    """Fill the bookkeeping that is missing; OpenFace's image mode has none of it."""
    whole = table[list(group("au_intensity").columns)].notna().all(axis=1)
    rows = np.arange(1, len(values) + 1)
    defaults: dict[str, ArrayLike] = {"frame": rows, "face_id": 0, "success": whole}
    for name, default in (defaults | {"confidence": 1}).items():
        if name not in table:
            values[:, INDEX[name]] = default
    if "timestamp" not in table:
        values[:, INDEX["timestamp"]] = (values[:, INDEX["frame"]] - 1) / FRAMES_PER_SECOND
    for name in _BOOKKEEPING:
        if name in table:
            _refuse(name, table[name], table[name].isna(), "a number")
    # A row with a face has all intensities: half a row is a broken file, not a missing face.
    success = values[:, INDEX["success"]] == 1
    for name in group("au_intensity").columns:
        _refuse(name, table[name], table[name].isna() & success, "a number")
    return values


def _check_length(last: float, clip_seconds: float) -> None:
    seconds, share = LENGTH_SLACK
    if clip_seconds and abs(last - clip_seconds) > seconds + share * clip_seconds:
        raise InvalidOpenFaceCsv(
            f"The OpenFace CSV ends at {last:.1f} s, the clip at {clip_seconds:.1f} s: it seems to "
            "be of another clip. Send the file that OpenFace made of this one."
        )


def _one_face(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Pick one row a picture, in the order of time, and count the most faces in a picture."""
    frame, face = values[:, INDEX["frame"]], values[:, INDEX["face_id"]]
    seen = values[:, INDEX["success"]] == 1
    _, per_picture = np.unique(frame[seen], return_counts=True)
    confidence = np.where(seen, values[:, INDEX["confidence"]], 0)
    ids, which = np.unique(face, return_inverse=True)
    trust = np.bincount(which, weights=confidence, minlength=len(ids))[which]
    order = np.lexsort((-trust, ~seen, frame))
    _, first = np.unique(frame[order], return_index=True)
    chosen = values[order[first]]
    by_time = np.argsort(chosen[:, INDEX["timestamp"]], kind="stable")
    return chosen[by_time], int(per_picture.max(initial=0))


def _resample(
    values: NDArray[np.float32], pictures_per_second: int, longest_seconds: float
) -> NDArray[np.float32]:
    """Pick (steps, 714): the first row at or after each tick since the first row, none twice."""
    seconds = values[:, INDEX["timestamp"]].astype(np.float64)
    if seconds[-1] > longest_seconds:
        raise InvalidOpenFaceCsv(
            f"The OpenFace CSV goes on until {seconds[-1]:.1f} s, at most {longest_seconds:g} s "
            "are accepted."
        )
    ticks = np.floor((seconds - seconds[0] + TICK_TOLERANCE) * pictures_per_second)
    return values[np.diff(ticks, prepend=-1) > 0]
