"""How well the built-in tracker agrees with real OpenFace 2.x output.

    python -m benchmarks.openface_concordance [--pairs ../shared/openface]

Each pair is a clip and the CSV that OpenFace wrote for it. The footage is not ours to publish, so
it is not in the repository; without it the command says so and ends. Rows are joined by the number
of the frame; a row counts where both see the face and OpenFace is confident.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from preprocessing.clip import DecodeLimits, Frame
from preprocessing.decode import ClipReader
from preprocessing.face import FaceTracker
from preprocessing.openface_columns import GROUPS, INDEX, group, indices
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
        return read_csv(self.csv, steps_per_second=EVERY_FRAME).values


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
    """Of a set of columns: mean correlation, mean absolute error, mean error, columns compared."""

    correlation: float
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
    correlations = [np.corrcoef(x, y)[0, 1] for x, y in zip(a.T[moving], b.T[moving], strict=True)]
    return Agreement(
        float(np.mean(correlations)) if correlations else float("nan"),
        float(np.abs(a - b).mean()),
        float((a - b).mean()),
        int(both.sum()),
    )


def print_pair(pair: Pair, tracker: FaceTracker) -> None:
    """Print one pair's table by group, and by action unit."""
    ours = tracker.analyse(pair.frames(), steps_per_second=EVERY_FRAME).values
    theirs = pair.openface()
    kept, reference = joined(ours, theirs)
    note = " (held out of the fit of the action units)" if pair.name == HELD_OUT else ""
    print(f"\n{pair.name}{note}: {len(kept)} of {len(theirs)} rows")
    print(f"{'columns':18}{'r':>7}{'MAE':>9}{'bias':>9}  unit")
    for part in GROUPS[5:]:
        print_line(part.name, agreement(kept, reference, part.columns), part.unit)
    for name in group("au_intensity").columns:
        print_line(f"  {name}", agreement(kept, reference, [name]), "0-5")


def print_line(name: str, found: Agreement | None, unit: str) -> None:
    """Print one line of a table, or nothing where there is nothing to compare."""
    if found is not None:
        print(f"{name:18}{found.correlation:7.2f}{found.error:9.3f}{found.bias:9.3f}  {unit}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the agreement on every pair there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=Path, default=PAIRS_FOLDER)
    pairs = find_pairs(parser.parse_args(arguments).pairs)
    if not pairs:
        print("No OpenFace pairs here: give their folder with --pairs. Nothing was measured.")
    with FaceTracker() as tracker:
        for pair in pairs:
            print_pair(pair, tracker)


if __name__ == "__main__":
    main()
