"""Fit `preprocessing/action_units.json` to real OpenFace output.

    python -m benchmarks.fit_action_units [--pairs ../shared/openface] [--data ../shared/data]

Each intensity is a linear function of a few distances and expressions, each with the sign that
anatomy gives it (non-negative least squares). Two kinds of evidence:

- within each pair of clip and CSV, deviations from the clip's means, both sides in standard
  deviations, so that pairs weigh alike: what goes with what, whoever moves. A strong ridge keeps
  the terms of a unit at work together: with four pairs the rest would be fitted to persons;
- the seven classes of FER2013's stills, whose medians are laid against RAVDESS's mean OpenFace
  intensities for the same emotions: many people, few numbers.

The scale of a unit is the one that brings its movement to OpenFace's over the pairs and classes
(geometric mean of what each asks for, over the correlation, so that a change of one in OpenFace's
is a change of one in ours); the intercept reads a neutral still as RAVDESS's neutral clips. What a
clip's own person adds to that is taken away by `preprocessing.action_units.settle`.

The pair `HELD_OUT` takes no part in the fit; its correlations, and those of every other pair when
it is left out in its turn, are printed. The terms of each unit were chosen with all four in view.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks.openface_concordance import (
    CONFIDENT,
    HELD_OUT,
    MOVING_INTENSITY,
    PAIRS_FOLDER,
    Pair,
    find_pairs,
)
from preprocessing.action_units import (
    COEFFICIENTS,
    HIGHEST,
    INTENSITIES,
    PRESENCES,
    calibration,
    distances,
)
from preprocessing.expressions import NAMES, expressions
from preprocessing.face import FaceTracker, enlarge_small_still
from preprocessing.geometry import VERTICES, Camera, Head
from preprocessing.openface_columns import INDEX, indices
from preprocessing.schema import REST_QUANTILE
from preprocessing.sight import Sight

Array = NDArray[np.float64]

TERMS = {
    "AU01": "+browInnerUp +brow_inner +brow_slope -fold -nose_width",
    "AU02": "+browOuterUp +eyeWide -eyeSquint +brow_outer",
    "AU04": "+browDown +eyeSquint -brow_middle -brow_inner -brow_gap",
    "AU05": "+eyeWide +lid_upper -lid_lower -eyeSquint",
    "AU06": "+cheekSquint +eyeSquint +mouthSmile +nose_width +lid_lower +cheek +mouthUpperUp",
    "AU07": "+eyeSquint +lid_lower -lid_upper +nose_width",
    "AU09": "+noseSneer +mouthUpperUp -brow_inner +nose_width +lid_lower",
    "AU10": "+mouthUpperUp +lip_gap +cheekSquint +mouthLowerDown +nose_width +lip_to_nose +fold",
    "AU12": "+mouthSmile +fold +mouth_width +corner_height +cheek",
    "AU14": "+mouthSmile +fold +mouth_width +mouthDimple +corner_height",
    "AU15": "+mouthFrown -corner_to_nose -mouthSmile -corner_height",
    "AU17": "+mouthShrugLower +chin +mouthRollLower -mouth_width -corner_height",
    "AU20": "+mouthStretch +mouth_width +mouthSmile",
    "AU23": "+mouthPress +mouthRollUpper +fold -lip_lower -lip_upper +lip_to_nose",
    "AU25": "+lip_gap +mouth_width +mouthLowerDown +mouthUpperUp +jawOpen",
    "AU26": "+jawOpen +mouthClose +jaw -corner_to_nose +mouthPucker +mouthFunnel",
    "AU45": "+eyeBlink +eye_closed -lid_upper",
}
"""The distances and expressions that each unit may depend on, and in which direction."""

EMOTIONS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "surprise": "surprised",
}
"""FER2013's classes and RAVDESS's names for them."""

STILLS_PER_CLASS = 300
CLASSES_WEIGHT = 1.0
RIDGE = 3.0
STILL = 0.1
"""Standard deviation (0-5) below which a unit does not move in a pair, which then says nothing."""

MOST_SCALE = 1.6
"""Most that a unit's movement is enlarged for a low correlation."""

SEED = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured on a set of faces and what OpenFace says of them.

    Attributes:
        measures: (rows, names) distances in mm and expressions.
        intensities: (rows, 17).
        presences: (rows, 17) of pairs.
        seconds: (rows,) of pairs.
    """

    measures: Array
    intensities: Array
    presences: Array
    seconds: Array

    def standard(self, columns: Sequence[int], spread: Array) -> Array:
        """(rows, columns) deviations of measures from their means, in spreads."""
        chosen = self.measures[:, columns]
        deviations: Array = (chosen - chosen.mean(0)) / spread[columns]
        return deviations


@dataclass(frozen=True, slots=True)
class Fitted:
    """One unit: intensity = intercept + weights . measures[columns]."""

    intercept: float
    columns: list[int]
    weights: Array

    def estimate(self, measures: Array) -> Array:
        """(rows,) not calibrated."""
        found: Array = self.intercept + measures[:, self.columns] @ self.weights
        return found


def names() -> list[str]:
    """Of all that is measured on a face."""
    return list(distances(np.zeros((VERTICES, 3)) + np.arange(VERTICES)[:, None])) + list(NAMES)


def measure(sights: Sequence[Sight], camera: Camera) -> Array:
    """(sights, names): distances (mm), then expressions."""
    frontal = np.array([Head(sight.mesh, camera).frontal for sight in sights])
    return np.column_stack([*distances(frontal).values(), *expressions(frontal).values()])


def pair_evidence(pair: Pair, tracker: FaceTracker) -> Evidence:
    """All frames in which both see the face."""
    written = pair.openface()
    trusted = (written[:, INDEX["success"]] == 1) & (written[:, INDEX["confidence"]] >= CONFIDENT)
    openface = {int(row[INDEX["frame"]]): row for row in written[trusted]}
    sights, rows, seconds = [], [], []
    for frame in pair.frames():
        seen = tracker.look(frame.rgb)
        row = openface.get(frame.index + 1)
        if seen and row is not None:
            sights.append(seen[0])
            rows.append(row)
            seconds.append(frame.seconds)
    table = np.array(rows, np.float64)
    return Evidence(
        # The mesh without pose does not depend on the camera.
        measure(sights, Camera.default(640, 480)),
        table[:, indices(INTENSITIES)],
        table[:, indices(PRESENCES)],
        np.array(seconds),
    )


def class_evidence(data: Path, tracker: FaceTracker) -> Evidence:
    """Median measures of each class of stills, mean intensities of each class of clips."""
    clips = pd.read_csv(data / "ravdess" / "clips.csv")
    clips = clips[clips.file.str.startswith("speech")]
    means = [clips[clips.emotion == name][list(INTENSITIES)].mean() for name in EMOTIONS.values()]
    medians = []
    generator = np.random.default_rng(SEED)
    with zipfile.ZipFile(data / "fer2013.zip") as archive:
        for emotion in EMOTIONS:
            stills = [n for n in archive.namelist() if n.startswith(f"train/{emotion}/")]
            chosen = generator.choice(stills, STILLS_PER_CLASS, replace=False)
            pictures = (np.frombuffer(archive.read(name), np.uint8) for name in chosen)
            sights = [
                tracker.look_still(
                    enlarge_small_still(np.asarray(cv2.imdecode(p, cv2.IMREAD_GRAYSCALE)))
                )
                for p in pictures
            ]
            found = [sight for sight in sights if sight]
            medians.append(np.median(measure(found, Camera.default(288, 288)), axis=0))
    nothing = np.empty((0, len(INTENSITIES)))
    return Evidence(np.array(medians), np.array(means), nothing, np.empty(0))


def fit(unit: str, pairs: Sequence[Evidence], classes: Evidence) -> Fitted:
    """Intercept and weights (per mm, per whole expression) of one unit."""
    target = list(TERMS).index(unit)
    known, terms = names(), TERMS[unit].split()
    columns = [known.index(term[1:]) for term in terms]
    signs = np.array([1 if term[0] == "+" else -1 for term in terms])
    spread = np.sqrt(np.mean([pair.measures.var(0) for pair in pairs], axis=0))
    blocks, goals = [np.eye(len(terms)) * np.sqrt(RIDGE)], [np.zeros(len(terms))]
    moving = [e for e in (*pairs, classes) if e.intensities[:, target].std() > STILL]
    for evidence in moving:
        share = CLASSES_WEIGHT if evidence is classes else 1
        factor = np.sqrt(share / len(evidence.measures))
        y = evidence.intensities[:, target]
        blocks.append(evidence.standard(columns, spread) * signs * factor)
        goals.append((y - y.mean()) / y.std() * factor)
    weights = nnls(np.vstack(blocks), np.concatenate(goals))[0] * signs
    if not weights.any():
        weights = signs / len(signs)
    weights = weights * _scale(moving, target, columns, weights, spread) / spread[columns]
    neutral = list(EMOTIONS).index("neutral")
    rest = classes.measures[neutral, columns] @ weights
    return Fitted(float(classes.intensities[neutral, target] - rest), columns, weights)


def _scale(
    moving: Sequence[Evidence], target: int, columns: Sequence[int], weights: Array, spread: Array
) -> float:
    """What brings the movement of an estimate to OpenFace's, see the module's head."""
    ratios, correlations = [], []
    for evidence in moving:
        estimate = evidence.standard(columns, spread) @ weights
        ratios.append(np.log(evidence.intensities[:, target].std() / max(estimate.std(), 1e-6)))
        correlations.append(np.corrcoef(estimate, evidence.intensities[:, target])[0, 1])
    enlarged = min(MOST_SCALE, 1 / max(float(np.mean(correlations)), 1e-6)) if moving else 1.0
    return float(np.exp(np.mean(ratios))) * enlarged if moving else 1.0


def settled(estimate: Array, seconds: Array) -> Array:
    """(rows,) an estimate of one face of one clip as `action_units.settle` brings it to 0-5."""
    rest = np.quantile(estimate, REST_QUANTILE) * calibration(float(np.ptp(seconds)))
    return np.clip(estimate - rest, 0, HIGHEST)


def presence_threshold(intensities: Sequence[Array], presences: Sequence[Array]) -> float:
    """Intensity from which a unit counts as present, by the best mean balanced accuracy."""
    candidates = np.arange(0.1, 2.01, 0.1)
    scores = np.zeros(len(candidates))
    for intensity, presence in zip(intensities, presences, strict=True):
        present = presence == 1
        if present.any() and not present.all():
            scores += [
                (intensity[present] >= c).mean() + (intensity[~present] < c).mean()
                for c in candidates
            ]
    return float(candidates[int(np.argmax(scores))]) if scores.any() else 1.0


def correlation_left_out(held: Evidence, unit: str, fitted: Fitted) -> float:
    """On a pair that took no part in the fit."""
    target = held.intensities[:, list(TERMS).index(unit)]
    estimate = settled(fitted.estimate(held.measures), held.seconds)
    moves = target.std() > MOVING_INTENSITY and estimate.std() > 0
    return float(np.corrcoef(estimate, target)[0, 1]) if moves else float("nan")


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, print the correlation on pairs left out, and write the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fit_action_units", description=__doc__
    )
    parser.add_argument("--pairs", type=Path, default=PAIRS_FOLDER)
    parser.add_argument("--data", type=Path, default=PAIRS_FOLDER.parent / "data")
    options = parser.parse_args(arguments)
    with FaceTracker() as tracker:
        pairs = {p.name: pair_evidence(p, tracker) for p in find_pairs(options.pairs)}
        classes = class_evidence(options.data, tracker)
    print("correlation on each pair, left out of the fit:", *pairs)
    table, left_out = {}, []
    known = names()
    for target, unit in enumerate(TERMS):
        left_out.append(
            [
                correlation_left_out(
                    held, unit, fit(unit, [p for o, p in pairs.items() if o != name], classes)
                )
                for name, held in pairs.items()
            ]
        )
        print(unit, *(f"{r:6.2f}" for r in left_out[-1]))
        used = [pair for name, pair in pairs.items() if name != HELD_OUT]
        fitted = fit(unit, used, classes)
        estimates = [settled(fitted.estimate(pair.measures), pair.seconds) for pair in used]
        presences = [pair.presences[:, target] for pair in used]
        weights = zip(fitted.columns, fitted.weights, strict=True)
        table[unit] = {
            "intercept": round(fitted.intercept, 3),
            "weights": {known[c]: round(float(w), 4) for c, w in weights if w},
            "present_from": round(presence_threshold(estimates, presences), 1),
        }
    print("mean", *(f"{r:6.2f}" for r in np.nanmean(left_out, axis=0)))
    COEFFICIENTS.write_text(json.dumps(table, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
