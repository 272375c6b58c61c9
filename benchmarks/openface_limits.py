"""What keeps action units from following OpenFace's: the estimates, the clip, or the mesh.

    python -m benchmarks.openface_limits [--pairs ../shared/openface] [UNIT ...]

Printed is, for each pair and unit that moves in it, the correlation with OpenFace's intensities

* of ours;
* of ours in the frames in which MediaPipe's own `FaceMesh` sees a face, too: it gives up where a
  face is small, turned away or behind a hand;
* of two regressions on all distances and expressions that ours are made of, a linear one (ridge)
  and one that is not (support vectors), fitted to OpenFace's intensities of the other nine tenths
  of the very same clip. They know the clip's persons, which an estimate for any clip does not.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from benchmarks.fit_action_units import TERMS, Evidence, pair_evidence
from benchmarks.openface_concordance import (
    MOVING_INTENSITY,
    PAIRS_FOLDER,
    Pair,
    find_pairs,
    rows_of,
)
from preprocessing.face import FaceTracker
from preprocessing.mediapipe_quietly import face_mesh, quiet
from preprocessing.openface_columns import INDEX

TENTHS = 10
RIDGES = np.logspace(-1, 5, 13)
UNITS = ("AU06", "AU12", "AU25", "AU26", "AU45")


def frames_of_facemesh(pair: Pair) -> set[int]:
    """Numbers, from 1, of the frames in which MediaPipe's `FaceMesh` sees a face as it follows."""
    with quiet():
        bare = face_mesh.FaceMesh(max_num_faces=1, refine_landmarks=True)
        frames = pair.frames()
        seen = {f.index + 1 for f in frames if bare.process(f.rgb).multi_face_landmarks}
        bare.close()
    return seen


def within_the_clip(evidence: Evidence, unit: str, regression: RidgeCV | SVR) -> float:
    """Correlation of a regression's estimates of each tenth, fitted to the others.

    Args:
        evidence: of one pair.
        unit: such as ``AU26``.
        regression: takes columns of mean 0 and spread 1.
    """
    target = evidence.intensities[:, list(TERMS).index(unit)]
    # Tenths in one piece: a frame's neighbours are nearly the frame itself.
    estimate = cross_val_predict(
        make_pipeline(StandardScaler(), regression),
        evidence.measures,
        target,
        cv=KFold(TENTHS, shuffle=False),
    )
    return correlation(estimate, target)


def correlation(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> float:
    """Pearson's r."""
    return float(np.corrcoef(ours, theirs)[0, 1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.openface_limits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("units", nargs="*", default=UNITS, help=f"such as {' '.join(UNITS)}")
    parser.add_argument("--pairs", type=Path, default=PAIRS_FOLDER)
    options = parser.parse_args(arguments)
    pairs = find_pairs(options.pairs)
    if not pairs:
        raise SystemExit(f"{options.pairs} holds no pair of a clip and its OpenFace CSV.")
    print("| pair | unit | frames | r | frames FaceMesh sees | r | within, linear | within, not |")
    print("|---|---|---|---|---|---|---|---|")
    with FaceTracker() as tracker:
        for pair in pairs:
            ours, theirs = rows_of(pair, tracker)
            evidence = pair_evidence(pair, tracker)
            bare = frames_of_facemesh(pair)
            seen = np.isin(ours[:, INDEX["frame"]].astype(int), list(bare))
            for unit in options.units:
                a, b = (rows[:, INDEX[f"{unit}_r"]].astype(float) for rows in (ours, theirs))
                if b.std() > MOVING_INTENSITY:
                    print(
                        f"| {pair.name} | {unit} | {len(a)} | {correlation(a, b):.2f} "
                        f"| {seen.sum()} | {correlation(a[seen], b[seen]):.2f} "
                        f"| {within_the_clip(evidence, unit, RidgeCV(RIDGES)):.2f} "
                        f"| {within_the_clip(evidence, unit, SVR()):.2f} |"
                    )


if __name__ == "__main__":
    main()
