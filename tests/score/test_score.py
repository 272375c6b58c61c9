"""Clips to lines without a server."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from examples.sample_clip import TRANSCRIPT, sample_clip
from score.__main__ import main
from score.jobs import jobs_of, jobs_of_table
from score.lines import Line, write, written
from tests.service.running import CHECKPOINT, ROOT

WITH_WEIGHTS = ["--checkpoint", str(CHECKPOINT), "--device", "cpu", "--workers", "1"]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good clip with its words, a broken one, one without words, and something else."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "sub").mkdir()
    clip = sample_clip(seconds=0.6)
    (folder / "a good.mp4").write_bytes(clip)
    (folder / "a good.txt").write_text(TRANSCRIPT)
    (folder / "b broken.MP4").write_bytes(b"no clip")
    (folder / "b broken.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nwords\n")
    (folder / "sub" / "c silent.webm").write_bytes(clip)
    (folder / "notes.pdf").write_bytes(b"")
    return folder


def test_clips_of_a_folder_come_with_the_words_beside_them(recordings: Path) -> None:
    jobs = jobs_of([recordings], None)
    assert [job.clip.name for job in jobs] == ["a good.mp4", "b broken.MP4", "c silent.webm"]
    assert [job.suffix for job in jobs] == [".txt", ".srt", ".txt"]
    assert jobs[0].words == TRANSCRIPT.encode()
    assert jobs[2].words is None
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        jobs_of([recordings / "elsewhere"], None)


def test_a_table_names_clips_beside_it(tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    table.write_text('\ufefffile,text,other\nx.mp4,"yes, really",1\n', encoding="utf-8")
    (job,) = jobs_of_table(table)
    assert (job.clip, job.words) == (tmp_path / "x.mp4", b"yes, really")
    table.write_text("file,words\nx.mp4,yes\n")
    with pytest.raises(ValueError, match="no column text"):
        jobs_of_table(table)


def test_a_folder_is_scored_whatever_is_in_it(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.jsonl"
    assert main([str(recordings), "--out", str(out), *WITH_WEIGHTS]) == 1
    good, broken, silent = (json.loads(line) for line in out.read_text().splitlines())
    assert good["file"].endswith("a good.mp4")
    assert good["error"] is None
    assert -3 <= good["low"] <= good["score"] <= good["high"] <= 3
    assert good["global_weight"] + good["local_weight"] == pytest.approx(1)
    assert broken["error"].startswith("undecodable_clip: ")
    assert broken["score"] is None
    assert silent["error"].startswith("no transcript")
    assert "2 of 3 clips have no score" in capsys.readouterr().err


def test_one_clip_to_the_screen(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = recordings / "sub" / "c silent.webm"
    assert main([str(clip), "--transcript", "I like it", *WITH_WEIGHTS]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["score"] > 0


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_stopped_run_goes_on_behind_its_last_line(
    recordings: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"scores{suffix}"
    broken = recordings / "b broken.MP4"
    with out.open("w", newline="") as file:
        write([Line(str(broken), error="x")], file, as_csv=suffix == ".csv")
    before = out.read_bytes()
    out.write_bytes(before + b'{"file": "a go')

    command = [str(recordings), "--out", str(out), *WITH_WEIGHTS]
    with pytest.raises(SystemExit):
        main(command)
    assert "--resume goes on behind it" in capsys.readouterr().err

    assert main([*command, "--resume"]) == 1
    assert out.read_bytes().startswith(before)
    names = [Path(name).name for name in sorted(written(out))]
    assert names == ["a good.mp4", "b broken.MP4", "c silent.webm"]
    assert len(out.read_text().splitlines()) == 3 + (suffix == ".csv")
    assert main([*command, "--resume"]) == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl", "so\n"), ("b.jsonl", "[1]\n"), ("c.csv", "file,mine\na,1\n")],
)
def test_another_s_file_is_not_appended_to(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=name):
        written(path)
    assert path.read_text() == content


def test_ctrl_c_keeps_what_was_written(recordings: Path, tmp_path: Path) -> None:
    clip, out = recordings / "a good.mp4", tmp_path / "scores.jsonl"
    # More than any machine scores between two looks at the file.
    for number in range(900):
        (tmp_path / f"{number:03}.mp4").hardlink_to(clip)
        (tmp_path / f"{number:03}.txt").write_text("good")
    command = [sys.executable, "-m", "score", str(tmp_path), "--out", str(out), *WITH_WEIGHTS]
    # A group of its own, and all of it is sent the signal, as a terminal does.
    # Where the tests run in the background, a shell has SIGINT ignored, and children inherit it.
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as run:
        while not (out.exists() and out.stat().st_size) and run.poll() is None:
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=300)
    assert run.returncode == 130, said.decode()
    assert b"Traceback" not in said
    assert b"Stopped: --resume goes on behind" in said
    assert 1 <= len(written(out)) < 900


def test_csv_by_hand() -> None:
    target = io.StringIO()
    lines = [
        Line("a, b.mp4", 1.5, 0.5, 2.5, 0.75, 0.25, ("no_face", "no_audio")),
        Line("c", error="x"),
    ]
    assert write(lines, target, as_csv=True) == 1
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(target.getvalue())))
    assert rows[0] == {
        "file": "a, b.mp4",
        "score": "1.5",
        "low": "0.5",
        "high": "2.5",
        "global_weight": "0.75",
        "local_weight": "0.25",
        "warnings": "no_face no_audio",
        "error": "",
    }
    assert (rows[1]["file"], rows[1]["score"], rows[1]["error"]) == ("c", "", "x")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give clips or folders, or a --table"),
        (["a.mp4", "--table", "b.csv"], "give clips or folders, or a --table"),
        (["a.mp4", "b.mp4", "--transcript", "words"], "single clip"),
        (["none.mp4"], "none.mp4 does not exist"),
        (["--table", "none.csv"], "none.csv"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_told(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
