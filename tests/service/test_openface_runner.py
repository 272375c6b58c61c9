"""An operator's OpenFace: a stand-in executable that writes, fails, hangs or writes garbage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from preprocessing.openface import main as write_openface
from service import openface_runner
from service.openface_runner import OpenFaceFailed, OpenFaceRunner
from tests.service.running import CHECKPOINT, Service

ROW = "frame,AU01_r\n1,0.5\n"


def stand_in(folder: Path, body: str) -> Path:
    """An executable that is called as FeatureExtraction is; $clip and $csv name its files."""
    binary = folder / "FeatureExtraction"
    binary.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$*" > "$(dirname "$0")/called"\n'
        f'clip="$2"\ncsv="$4/$6.csv"\n{body}\n'
    )
    binary.chmod(0o755)
    return binary


def run(binary: Path, video: bytes = b"a clip", seconds: float = 60.0) -> bytes:
    runner = OpenFaceRunner(binary, seconds=seconds, at_once=1)
    assert runner.reason() is None
    return asyncio.run(runner.run(video))


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Temporary files go here, and none may stay."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def test_what_it_writes_comes_back_whatever_its_exit_code(tmp_path: Path) -> None:
    binary = stand_in(tmp_path, f'grep -q "a clip" "$clip" && printf "{ROW}" > "$csv"; exit 3')
    assert run(binary).decode() == ROW
    called = (tmp_path / "called").read_text().split()
    assert called[0] == "-f"
    assert called[6:] == ["-2Dfp", "-3Dfp", "-pdmparams", "-pose", "-gaze", "-aus"]


def test_it_sees_none_of_our_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPDF_SECRET", "hunter2")
    names = {
        line.split("=")[0] for line in run(stand_in(tmp_path, 'env > "$csv"')).decode().split()
    }
    assert names <= {"PATH", "LD_LIBRARY_PATH", "LANG", "HOME", "PWD", "OLDPWD", "SHLVL", "_"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exit 0", "wrote no file"),
        ("exit 1", "wrote no file"),
        (': > "$csv"', "wrote no file"),
        ('head -c 2000 /dev/zero > "$csv"', "more than 1,000 bytes"),
        ("kill -SEGV $$", "wrote no file"),
    ],
)
def test_what_is_no_file_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    monkeypatch.setattr(openface_runner, "MOST_BYTES", 1000)
    with pytest.raises(OpenFaceFailed, match=said):
        run(stand_in(tmp_path, body))


def test_a_hanging_one_is_ended_with_all_it_has_started(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    started = time.monotonic()
    loop = f'(while :; do date +%s%N > "{alive}"; sleep 0.05; done) & wait'
    with pytest.raises(OpenFaceFailed, match=r"more than 0\.5 s"):
        run(stand_in(tmp_path, loop), seconds=0.5)
    assert time.monotonic() - started < 30
    last = alive.read_text()
    time.sleep(0.3)
    assert alive.read_text() == last


def test_a_binary_that_cannot_be_run_is_told_why(tmp_path: Path) -> None:
    binary = stand_in(tmp_path, "exit 0")
    binary.chmod(0o644)
    assert "may not be executed" in str(OpenFaceRunner(binary, seconds=1, at_once=1).reason())
    missing = OpenFaceRunner(tmp_path / "none", seconds=1, at_once=1)
    assert "no such file" in str(missing.reason())
    with pytest.raises(OpenFaceFailed, match="cannot be started"):
        asyncio.run(missing.run(b"a clip"))


def test_the_service_goes_by_it_and_says_when_it_fails(tmp_path: Path, clip: bytes) -> None:
    (tmp_path / "clip.mp4").write_bytes(clip)
    recorded = tmp_path / "recorded.csv"
    assert write_openface([str(tmp_path / "clip.mp4"), "-o", str(recorded)]) == 0
    choose = tmp_path / "choose"
    choose.write_text(f'cp "{recorded}" "$csv"')
    binary = stand_in(tmp_path, f'. "{choose}"')
    with Service(
        tmp_path / "service",
        checkpoint=CHECKPOINT,
        workers=1,
        openface_binary=binary,
        deadline_seconds=600,
    ) as service:
        service.wait_for("/readyz")
        answer = service.predict(clip).json()
        assert answer["seen"]["video"]["source"] == "openface"
        assert answer["seen"]["video"]["present"] is True
        assert "openface" in answer["timings_ms"]
        # A file that comes with the clip goes before the operator's OpenFace.
        (tmp_path / "called").unlink()
        sent = service.predict(clip, openface=("of.csv", recorded.read_bytes(), "text/csv")).json()
        assert sent["seen"]["video"]["source"] == "openface_csv"
        assert not (tmp_path / "called").exists()
        for script in ('echo garbage > "$csv"', "exit 0"):
            choose.write_text(script)
            degraded = service.predict(clip).json()
            assert degraded["seen"]["video"]["source"] == "built-in"
            assert "openface_failed" in {warning["code"] for warning in degraded["warnings"]}
        binary.unlink()
        refused = service.client.get("/readyz")
        assert refused.status_code == 503
        assert "no such file" in refused.text
        assert list(service.temporary.glob("openface-*")) == []
