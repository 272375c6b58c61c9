"""How well the built-in tracker agrees with real OpenFace 2.x output.

    python -m benchmarks.openface_concordance [--pairs FOLDER] [--columns] [--picture PNG]

Printed are, for each pair, what users of OpenFace ask first (`summary`), then a line a group of
columns, or with ``--columns`` a line a column; the picture lays our curves over OpenFace's. A pair
is a clip and the CSV that OpenFace wrote for it. The footage is not ours to publish, so it is not
in the repository; without it the command says so and ends. Rows are joined by the number of the
frame; a row counts where both see the face and OpenFace is confident.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from preprocessing.clip import DecodeLimits, Frame
from preprocessing.decode import ClipReader
from preprocessing.face import FaceTracker
from preprocessing.openface_columns import GROUPS, INDEX, group, indices, points
from preprocessing.openface_csv import read_csv

PAIRS_FOLDER = Path(__file__).parents[2] / "shared" / "openface"
HELD_OUT = "openface_default"
"""The pair that `benchmarks.fit_action_units` never fits to."""

EVERY_FRAME = 1000
"""Steps per second that leave no frame out."""

CONFIDENT = 0.7
"""Least confidence of OpenFace's rows that are compared; below, it has lost the face."""

FLAT = 0.05
"""Columns whose standard deviation is less (in their units) have no correlation worth the name."""


MOVING_DEGREES = 1.0
"""Standard deviation from which a head counts as turning about an axis (degrees)."""

MOVING_INTENSITY = 0.2
"""Standard deviation from which an action unit counts as moving (0-5)."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A clip and OpenFace's file for it."""

    name: str
    clip: Path
    csv: Path

    def frames(self) -> Iterator[Frame]:
        """Decode every picture."""
        yield from ClipReader(self.clip, DecodeLimits()).frames(EVERY_FRAME)

    def openface(self) -> NDArray[np.float32]:
        """(rows, 714) all that OpenFace wrote."""
        return read_csv(self.csv, pictures_per_second=EVERY_FRAME).values


def find_pairs(folder: Path) -> list[Pair]:
    """All pairs in a folder: each subfolder with one CSV and one clip of the same name."""
    return [
        Pair(csv.parent.name, clip, csv)
        for csv in sorted(folder.glob("*/*.csv"))
        for clip in sorted(csv.parent.glob(f"{csv.stem}.*"))
        if clip != csv
    ]


def joined(
    ours: NDArray[np.float32], theirs: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows of the frames in which both see the face and OpenFace is confident."""
    kept = []
    for values, confident in ((ours, 0.0), (theirs, CONFIDENT)):
        seen = (values[:, INDEX["success"]] == 1) & (values[:, INDEX["confidence"]] >= confident)
        kept.append(values[seen])
    frames = [values[:, INDEX["frame"]].astype(int) for values in kept]
    _, first, second = np.intersect1d(*frames, return_indices=True)
    return kept[0][first], kept[1][second]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of a set of columns: means over those that move, and over all.

    Attributes:
        correlation: mean r of those that move.
        slope: mean change of ours for a change of one in OpenFace's, of those that move.
        error: mean absolute error.
        bias: mean error.
        columns: compared.
    """

    correlation: float
    slope: float
    error: float
    bias: float
    columns: int


def agreement(
    ours: NDArray[np.float32], theirs: NDArray[np.float32], names: Sequence[str]
) -> Agreement | None:
    """Compare columns; None where one side has none of them."""
    positions = indices(names)
    a, b = ours[:, positions].astype(float), theirs[:, positions].astype(float)
    both = ~(np.isnan(a).any(axis=0) | np.isnan(b).any(axis=0))
    if not both.any():
        return None
    a, b = a[:, both], b[:, both]
    moving = (b.std(axis=0) > FLAT * (b.std(axis=0).max() > FLAT)) & (a.std(axis=0) > 0)
    moving &= b.std(axis=0) > 0
    pairs = list(zip(a.T[moving], b.T[moving], strict=True))
    correlations = [np.corrcoef(x, y)[0, 1] for x, y in pairs]
    slopes = [r * x.std() / y.std() for r, (x, y) in zip(correlations, pairs, strict=True)]
    return Agreement(
        float(np.mean(correlations)) if pairs else float("nan"),
        float(np.mean(slopes)) if pairs else float("nan"),
        float(np.abs(a - b).mean()),
        float((a - b).mean()),
        int(both.sum()),
    )


def rows_of(pair: Pair, tracker: FaceTracker) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n, 714) ours and OpenFace's of the frames that are compared.

    Of several faces ours is the largest.
    """
    ours = tracker.analyse(pair.frames(), pictures_per_second=EVERY_FRAME).values
    return joined(ours, pair.openface())


def summary(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> dict[str, float]:
    """Figures of one pair that have a meaning of their own; what a side lacks is left out.

    Args:
        ours: (n, 714) rows of the built-in tracker.
        theirs: (n, 714) OpenFace's of the same frames.
    """
    found: dict[str, float] = {}
    flat = (points(ours, "", "xy").astype(float), points(theirs, "", "xy").astype(float))
    if not np.isnan(flat[1]).any():
        eyes = np.linalg.norm(flat[1][:, 36] - flat[1][:, 45], axis=1)
        error = np.linalg.norm(flat[0] - flat[1], axis=2) / eyes[:, None]
        found["inner landmarks, mean error / distance of the eyes"] = float(error[:, 17:].mean())
        found["jaw, mean error / distance of the eyes"] = float(error[:, :17].mean())
        deep = (points(ours, "", "XYZ").astype(float), points(theirs, "", "XYZ").astype(float))
        depths = (d[..., 2].mean(axis=1) for d in deep)
        found["depth, ours / OpenFace's"] = float(np.mean(next(depths) / next(depths)))
        sizes = (np.linalg.norm(d[:, 36] - d[:, 45], axis=1) for d in deep)
        found["eyes' distance in mm, ours / OpenFace's"] = float(np.mean(next(sizes) / next(sizes)))
    for name in group("pose_rotation").columns:
        a, b = (np.degrees(rows[:, INDEX[name]].astype(float)) for rows in (ours, theirs))
        if not np.isnan(b).any():
            off = np.abs(a - b - np.mean(a - b)).mean()
            found[f"{name}, degrees off beside a constant"] = float(off)
            if b.std() > MOVING_DEGREES:
                found[f"{name}, r"] = float(np.corrcoef(a, b)[0, 1])
    for name in group("pose_translation").columns:
        a, b = (rows[:, INDEX[name]].astype(float) for rows in (ours, theirs))
        if not np.isnan(b).any():
            found[f"{name}, r"] = float(np.corrcoef(a, b)[0, 1])
            found[f"{name}, ours / OpenFace's movement"] = float(a.std() / b.std())
    gazes = [rows[:, indices(group("gaze").columns)].astype(float) for rows in (ours, theirs)]
    if not np.isnan(gazes[1]).any():
        cosines = np.sum(gazes[0].reshape(-1, 3) * gazes[1].reshape(-1, 3), axis=1)
        found["gaze, degrees off"] = float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean())
    found |= _units(ours, theirs)
    return found


def _units(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> dict[str, float]:
    found: dict[str, float] = {}
    correlations, slopes, accuracies = [], [], []
    for name in group("au_intensity").columns:
        a, b = (rows[:, INDEX[name]].astype(float) for rows in (ours, theirs))
        if b.std() > MOVING_INTENSITY:
            r = float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 else 0.0
            correlations.append(r)
            slopes.append(r * a.std() / b.std())
        c, d = (rows[:, INDEX[name.replace("_r", "_c")]] == 1 for rows in (ours, theirs))
        if 0 < d.mean() < 1:
            accuracies.append((c[d].mean() + (~c[~d]).mean()) / 2)
    if correlations:
        found[f"mean r of {len(correlations)} units that move"] = float(np.mean(correlations))
        found["slopes of these, least"] = float(np.min(slopes))
        found["slopes of these, greatest"] = float(np.max(slopes))
    if accuracies:
        found["presences, mean balanced accuracy"] = float(np.mean(accuracies))
    return found


def print_pair(
    pair: Pair,
    ours: NDArray[np.float32],
    theirs: NDArray[np.float32],
    *,
    by_column: bool,
) -> None:
    """Print one pair's figures."""
    note = " (held out of the fit of the action units)" if pair.name == HELD_OUT else ""
    print(f"\n{pair.name}{note}: {len(ours)} rows")
    for name, value in summary(ours, theirs).items():
        print(f"  {name:52}{value:8.3f}")
    print(f"{'columns':18}{'r':>7}{'slope':>7}{'MAE':>9}{'bias':>9}  unit")
    for part in GROUPS[5:]:
        print_line(part.name, agreement(ours, theirs, part.columns), part.unit)
        if by_column or part.name == "au_intensity":
            for name in part.columns:
                print_line(f"  {name}", agreement(ours, theirs, [name]), part.unit)


def print_line(name: str, found: Agreement | None, unit: str) -> None:
    """Print one line of a table, or nothing where there is nothing to compare."""
    if found is not None:
        numbers = f"{found.correlation:7.2f}{found.slope:7.2f}{found.error:9.3f}{found.bias:9.3f}"
        print(f"{name:18}{numbers}  {unit}")


DRAWN = (
    *(f"AU{unit}_r" for unit in ("01", "02", "04", "06", "12", "25", "26", "45")),
    *group("pose_rotation").columns,
    *group("gaze_angle").columns,
)
"""Columns of the picture."""


def draw(
    compared: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]], path: Path
) -> None:
    """Draw our curves over OpenFace's, a column of panels a pair (PNG)."""
    figure = Figure(figsize=(5 * len(compared), 1.5 * len(DRAWN)), layout="constrained")
    panels = figure.subplots(len(DRAWN), len(compared), squeeze=False, sharex="col")
    for column, (pair, (ours, theirs)) in enumerate(compared.items()):
        for row, name in enumerate(DRAWN):
            axes = panels[row][column]
            frames = theirs[:, INDEX["frame"]]
            axes.plot(frames, theirs[:, INDEX[name]], color="black", linewidth=1, label="OpenFace")
            axes.plot(frames, ours[:, INDEX[name]], color="tab:red", linewidth=1, label="ours")
            axes.set_ylabel(name, fontsize="small")
        panels[0][column].set_title(pair)
    panels[0][0].legend(fontsize="small")
    figure.savefig(path, dpi=80)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the agreement on every pair there is."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.openface_concordance", description=__doc__
    )
    parser.add_argument("--pairs", type=Path, default=PAIRS_FOLDER)
    parser.add_argument("--columns", action="store_true", help="a line a column")
    parser.add_argument("--picture", type=Path, help="PNG to draw our curves over OpenFace's to")
    options = parser.parse_args(arguments)
    pairs = find_pairs(options.pairs)
    if not pairs:
        print("No OpenFace pairs here: give their folder with --pairs. Nothing was measured.")
        return
    compared = {}
    with FaceTracker() as tracker:
        for pair in pairs:
            ours, theirs = compared[pair.name] = rows_of(pair, tracker)
            print_pair(pair, ours, theirs, by_column=options.columns)
    if options.picture:
        draw(compared, options.picture)


if __name__ == "__main__":
    main()
