"""Against MMSA-FET 0.4.1, the feature extractor that a user would pick instead.

``python -m benchmarks.against_fet`` makes an environment for it in ``build/mmsa-fet`` (2 GB, once),
mends what keeps it from running there, and gives both the same clips, warm. It extracts librosa's
33 columns, its MediaPipe face mesh at its default of 25 frames a second, and text features by the
encoder that we use, without a model behind them. We answer with the prediction, over HTTP, at our
default of five pictures a second.

* One clip: medians of the seconds a clip.
* Clips per second: as many processes of it as there are cores, one thread each; one service of ours
  with twice as many clients.

Beside both stands the floor, `benchmarks.speed_floor`: bare decoding, MediaPipe's bare mesh and one
forward. It looks for the face in every picture; a service that follows faces can be a little
faster.

Needs the command ``ffmpeg``, which MMSA-FET calls, and half a gigabyte of disk for its pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.profile_request import ask
from benchmarks.speed_clips import WORDS, speed_clip
from benchmarks.speed_floor import Floor, floors_a_second
from model.encoder import encoder_folder
from tests.service.running import Service

ENVIRONMENT: Final = Path("build/mmsa-fet")
PINS: Final = (
    "MMSA-FET==0.4.1",
    # The last with the face mesh's old interface, which it calls.
    "mediapipe==0.10.21",
    "torch==2.13.0",
    # Later ones have lost a module that it imports.
    "scenedetect==0.6.6",
    # MediaPipe asks for numpy 1, later ones for numpy 2.
    "pyarrow<21",
)
CLIPS: Final = ((3, 360), (10, 720), (10, 1080))


@dataclass(frozen=True, slots=True)
class Mend:
    """A defect of MMSA-FET and the change of a few characters that it takes."""

    file: str
    found: str
    instead: str
    why: str


MENDS: Final = (
    Mend(
        "extractors/video/mediapipe.py",
        "img_dir, video_name=None)",
        "img_dir, video_name=None, **_)",
        "is called with an argument that only its OpenFace extractor has",
    ),
)


def installed() -> Path:
    """The environment's interpreter, with MMSA-FET in it, mended."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "installed"
    if not stamp.exists():
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PINS], check=True)
        stamp.touch()
    (package,) = ENVIRONMENT.glob("lib/*/site-packages/MSA_FET")
    for mend in MENDS:
        path = package / mend.file
        text = path.read_text()
        if mend.instead not in text:
            if mend.found not in text:
                raise RuntimeError(f"{path} is not as expected; is it MMSA-FET 0.4.1?")
            path.write_text(text.replace(mend.found, mend.instead))
    return python


def configuration() -> dict[str, Any]:
    """MMSA-FET's own defaults, with librosa's columns of CH-SIMS and our encoder."""
    return {
        "audio": {
            "tool": "librosa",
            "sample_rate": 22_050,
            "n_fft": 2048,
            "hop_length": 512,
            "features": {
                "zero_crossing_rate": {},
                "mfcc": {"n_mfcc": 20, "htk": True},
                "chroma_cqt": {},
            },
        },
        "video": {
            "tool": "mediapipe",
            "fps": 25,
            "args": {
                "face_mesh": {
                    "refine_landmarks": True,
                    "min_detection_confidence": 0.35,
                    "min_tracking_confidence": 0.5,
                },
                "visualize": False,
            },
        },
        "text": {
            "model": "bert",
            "device": "cpu",
            "pretrained": str(encoder_folder("all-MiniLM-L6-v2")),
        },
    }


class Fet:
    """A process of MMSA-FET, warm for the clips of one job."""

    def __init__(self, python: Path, folder: Path, clips: list[Path], repeat: int, **env: str):
        folder.mkdir(parents=True)
        job = {
            "config": configuration(),
            "clips": [str(clip) for clip in clips],
            "words": WORDS,
            "repeat": repeat,
            "tmp_dir": str(folder / "pictures"),
            "log_dir": str(folder / "log"),
        }
        (folder / "job.json").write_text(json.dumps(job))
        runner = Path(__file__).with_name("fet_runner.py")
        self._process = subprocess.Popen(
            [python, runner, folder / "job.json"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "stderr").open("wb"),
            env={**os.environ, **env},
            text=True,
        )
        self._log = folder / "stderr"

    def _line(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"MMSA-FET stopped:\n{self._log.read_text()[-3000:]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def wait_until_warm(self) -> dict[str, Any]:
        """Block until each clip was done once; returns the shapes of the features."""
        shapes: dict[str, Any] = self._line()["shapes"]
        return shapes

    def go(self, clips: int) -> list[list[float]]:
        """Do the job; seconds of each turn of each clip."""
        if self._process.stdin:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        found = [self._line()["seconds"] for _ in range(clips)]
        self._process.wait()
        return found


def one_clip(python: Path, service: Service, folder: Path, repeat: int) -> list[str]:
    """Rows of the first table."""
    floor = Floor(len(os.sched_getaffinity(0)))
    clips = [speed_clip(*clip) for clip in CLIPS]
    fet = Fet(python, folder / "one", clips, repeat)
    shapes = fet.wait_until_warm()
    print(f"MMSA-FET gives {shapes}", file=sys.stderr)
    theirs = [statistics.median(seconds) for seconds in fet.go(len(clips))]
    rows = []
    for (length, lines), path, their in zip(CLIPS, clips, theirs, strict=True):
        content = path.read_bytes()
        ask(service, content)
        our = statistics.median(ask(service, content)["total"] for _ in range(repeat)) / 1000
        floor.milliseconds(content, WORDS)
        least = statistics.median(floor.milliseconds(content, WORDS) for _ in range(repeat)) / 1000
        cells = (their, our, their / our, least, their / least)
        rows.append(f"| {length} s {lines}p | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    return rows


def per_second(python: Path, service: Service, folder: Path, repeat: int) -> list[str]:
    """Rows of the second table."""
    cores = len(os.sched_getaffinity(0))
    rows = []
    for length, lines in CLIPS:
        path = speed_clip(length, lines)
        processes = [
            Fet(python, folder / f"{lines}-{n}", [path], repeat, OMP_NUM_THREADS="1")
            for n in range(cores)
        ]
        for process in processes:
            process.wait_until_warm()
        with ThreadPoolExecutor(cores) as pool:
            started = time.perf_counter()
            list(pool.map(Fet.go, processes, [1] * cores))
        theirs = cores * repeat / (time.perf_counter() - started)
        content = path.read_bytes()
        count = 4 * cores * repeat
        with ThreadPoolExecutor(2 * cores) as pool:
            started = time.perf_counter()
            list(pool.map(partial(ask, service), [content] * count))
        ours = count / (time.perf_counter() - started)
        most = floors_a_second(path, WORDS, cores=cores, count=2 * repeat)
        cells = (theirs, ours, ours / theirs, most, most / theirs)
        rows.append(f"| {length} s {lines}p | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    return rows


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.against_fet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeat", type=int, default=3, help="turns of each clip")
    options = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        sys.exit("MMSA-FET needs the command ffmpeg: apt-get install ffmpeg")
    python = installed().absolute()
    with tempfile.TemporaryDirectory() as name, Service(Path(name) / "service") as service:
        service.wait_for("/readyz")
        folder = Path(name)
        single = one_clip(python, service, folder, options.repeat)
        many = per_second(python, service, folder, options.repeat)
        service.terminate()
    floor = "the floor | times, at the floor |"
    print(f"\n| one clip | MMSA-FET, features (s) | ours, prediction (s) | times as fast | {floor}")
    print("|---|---|---|---|---|---|", *single, sep="\n")
    print(f"\n| many clips | MMSA-FET (clips/s) | ours (clips/s) | times as many | {floor}")
    print("|---|---|---|---|---|---|", *many, sep="\n")


if __name__ == "__main__":
    main()
