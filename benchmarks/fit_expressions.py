"""Fit `preprocessing/expressions.safetensors` to MediaPipe's blendshapes.

    python -m benchmarks.fit_expressions [--shared ../shared] [--stills 8000]

The teacher is `face_landmarker.task` (Apache-2.0), whose 52 blendshapes follow from its own mesh of
a picture; the student sees our mesh of the same picture, without pose and scale, so that nothing
but the 478 vertices is needed where it runs. Taught on stills of FER2013's training split and on
pictures of the test clips; one in eight is held back, and the correlation on these is printed. None
of the pairs with OpenFace's output is among them. The examples are kept in a file, so that another
fit takes seconds.

Left and right are averaged, since OpenFace's action units know no side. Blendshapes of the gaze,
and of one side alone, are left out.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from preprocessing.clip import DecodeLimits
from preprocessing.decode import ClipReader
from preprocessing.errors import PreprocessingError
from preprocessing.expressions import NAMES, WEIGHTS, Student
from preprocessing.face import FaceTracker, enlarge_small_still
from preprocessing.geometry import VERTICES, Camera, Head

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

SHARED = Path(__file__).parents[2] / "shared"
COMPONENTS = 64
"""Directions in which the mesh may vary, the first of a principal component analysis."""

HIDDEN = 64
EPOCHS = 60
PICTURES_PER_SECOND = 5.0
HELD_BACK = 8
SEED = 0


def stills(archive: Path, count: int) -> Iterator[Picture]:
    """Pictures of FER2013's training split, made fit for the tracker, in a fixed random order."""
    with zipfile.ZipFile(archive) as pictures:
        names = sorted(n for n in pictures.namelist() if n.startswith("train/") and n[-1] != "/")
        for name in np.random.default_rng(SEED).permutation(names)[:count]:
            grey = cv2.imdecode(
                np.frombuffer(pictures.read(str(name)), np.uint8), cv2.IMREAD_GRAYSCALE
            )
            yield enlarge_small_still(np.asarray(grey))


def clip_pictures(folder: Path) -> Iterator[Picture]:
    """Pictures of all clips of a folder that can be decoded."""
    for path in sorted(folder.iterdir()):
        try:
            for frame in ClipReader(path, DecodeLimits()).frames(PICTURES_PER_SECOND):
                yield frame.rgb
        except PreprocessingError:
            continue


def examples(pictures: Iterator[Picture], task: Path) -> tuple[Array, Array]:
    """Our frontal meshes (n, 478, 3) mm and the teacher's expressions (n, len(NAMES)), 0-1."""
    # Where `mediapipe.tasks` is imported before the tracker, protobuf 6 does not know its graphs.
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(task)), output_face_blendshapes=True
    )
    frontals, expressions = [], []
    with (
        vision.FaceLandmarker.create_from_options(options) as teacher,
        FaceTracker() as tracker,
    ):
        for rgb in pictures:
            sight = tracker.look_still(rgb)
            if sight is None:
                continue
            box = sight.box
            side = 2.4 * max(box.width, box.height)
            left, top = (
                max(0, int(box.left + (box.width - side) / 2)),
                max(0, int(box.top + (box.height - side) / 2)),
            )
            crop = np.ascontiguousarray(rgb[top : top + int(side), left : left + int(side)])
            found = teacher.detect(
                mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=crop)
            ).face_blendshapes
            if not found:
                continue
            scores = {shape.category_name: shape.score for shape in found[0]}
            height, width = rgb.shape[:2]
            frontals.append(Head(sight.mesh, Camera.default(width, height)).frontal)
            expressions.append(
                [
                    scores[name]
                    if name in scores
                    else (scores[f"{name}Left"] + scores[f"{name}Right"]) / 2
                    for name in NAMES
                ]
            )
    return np.array(frontals), np.array(expressions)


def fit(frontals: Array, expressions: Array) -> Student:
    """Principal components, then a network of one hidden layer by Adam (squared error)."""
    torch.manual_seed(SEED)
    flat = frontals.reshape(len(frontals), -1)
    mean, deviation = flat.mean(0), expressions.std(0) + 0.02
    _, stretch, directions = np.linalg.svd(flat - mean, full_matrices=False)
    basis = directions[:COMPONENTS] * np.sqrt(len(flat)) / stretch[:COMPONENTS, None]
    x = torch.tensor((flat - mean) @ basis.T, dtype=torch.float32)
    y = torch.tensor((expressions - expressions.mean(0)) / deviation, dtype=torch.float32)
    first, second = torch.nn.Linear(COMPONENTS, HIDDEN), torch.nn.Linear(HIDDEN, len(NAMES))
    network = torch.nn.Sequential(first, torch.nn.GELU(), second)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    batches = len(x) // 128
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=EPOCHS * batches)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x))[: batches * 128].reshape(batches, 128):
            loss = torch.nn.functional.mse_loss(network(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return Student(
        mean=mean.reshape(VERTICES, 3).astype(np.float16),
        basis=basis.reshape(COMPONENTS, VERTICES, 3).astype(np.float16),
        hidden=first.weight.detach().numpy(),
        hidden_bias=first.bias.detach().numpy(),
        out=(second.weight.detach().numpy() * deviation[:, None]).astype(np.float32),
        out_bias=(second.bias.detach().numpy() * deviation + expressions.mean(0)).astype(
            np.float32
        ),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit on seven eighths, print what the last one says, and write the weights."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fit_expressions", description=__doc__
    )
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--stills", type=int, default=8000, help="of FER2013's training split")
    parser.add_argument("--examples", type=Path, default=Path("build/expressions.npz"))
    options = parser.parse_args(arguments)
    if not options.examples.exists():
        task = options.shared / "models" / "face_landmarker.task"
        pictures = chain(
            clip_pictures(options.shared / "clips"),
            stills(options.shared / "data" / "fer2013.zip", options.stills),
        )
        meshes, scores = examples(pictures, task)
        options.examples.parent.mkdir(parents=True, exist_ok=True)
        np.savez(options.examples, frontals=meshes.astype(np.float32), expressions=scores)
    with np.load(options.examples) as kept:
        frontals, expressions = kept["frontals"].astype(np.float64), kept["expressions"]
    held = np.arange(len(frontals)) % HELD_BACK == 0
    student = fit(frontals[~held], expressions[~held])
    estimate = student.expressions(frontals[held])
    print(f"{len(frontals)} faces, {held.sum()} of them held back; r on these:")
    for index, name in enumerate(NAMES):
        r = np.corrcoef(estimate[:, index], expressions[held, index])[0, 1]
        print(f"  {name:18}{r:6.2f}")
    save_file(student.tensors(), WEIGHTS)


if __name__ == "__main__":
    main()
