"""The examples for curl, Python and JavaScript, run as a reader would run them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.running import ROOT, Service

WORDS = 'I @really liked it; so "good", isn\'t it'


def run(
    command: list[str], service: Service, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"DPDF_URL": address(service), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def address(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


def commands(name: str, service: Service, clip: Path, words: str) -> list[str]:
    """The command of an example; the test is skipped where its program is not installed."""
    program = {"curl": "curl", "node": "node", "python": sys.executable}[name]
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    if name == "curl":
        return ["sh", "examples/curl.sh", str(clip), words]
    script = ["-m", "examples.client"] if name == "python" else ["examples/client.mjs"]
    return [found, *script, address(service), str(clip), words]


@pytest.fixture
def file(tmp_path: Path, clip: bytes) -> Path:
    path = tmp_path / "a clip.mp4"
    path.write_bytes(clip)
    return path


EXAMPLES = ["curl", "python", "node"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_prints_score_and_explanation(name: str, service: Service, file: Path) -> None:
    done = run(commands(name, service, file, WORDS), service)
    assert done.returncode == 0, done.stderr
    if name == "curl":
        answer = json.loads(done.stdout)
        assert answer["score"] > 0
        assert answer["explanation"]["transcript"] == WORDS
    else:
        score, label, *_ = done.stdout.split()
        assert float(score) > 0
        assert label in {"weakly", "positive", "highly"}
        assert "audio" in done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_tells_a_problem(name: str, service: Service, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no clip")
    done = run(commands(name, service, broken, WORDS), service)
    assert done.returncode != 0
    assert "undecodable_clip" in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["curl", "python"])
def test_an_example_takes_captions(name: str, service: Service, file: Path) -> None:
    captions = file.with_name("words.vtt")
    captions.write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nreally good\n")
    done = run(commands(name, service, file, str(captions)), service)
    assert done.returncode == 0, done.stderr + done.stdout
