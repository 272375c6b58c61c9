from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings, secret_variables, settings_table, unknown_variables
from tests.service.running import ROOT


def test_every_setting_is_described_and_has_a_default() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert not field.is_required(), name


def test_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPDF_MAX_UPLOAD_MIB", "0.5")
    monkeypatch.setenv("DPDF_CHECKPOINT", "elsewhere.safetensors")
    monkeypatch.setenv("DPDF_WORKERS", "3")
    settings = Settings()
    assert settings.max_upload_bytes == 512 * 1024
    assert settings.checkpoint == Path("elsewhere.safetensors")
    assert settings.worker_count == 3


def test_no_number_of_workers_means_one_a_core() -> None:
    assert Settings(workers=0).worker_count >= 1


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2), (16, 4), (24, 4), (32, 3), (64, 1)])
def test_threads_for_faces_go_by_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert Settings().face_threads == threads
    assert Settings(clip_threads=7).face_threads == 7


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "70000"), ("DEVICE", "tpu"), ("BATCH_CLIPS", "0"), ("LOG_LEVEL", "loud")],
)
def test_bad_values_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"DPDF_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_misspelt_variables_are_found() -> None:
    environment = {"DPDF_PORT": "1", "DPDF_PROT": "1", "HOME": "/"}
    assert unknown_variables(environment) == ["DPDF_PROT"]


def test_secrets_are_found() -> None:
    environment = {"DPDF_API_KEYS": "k", "dpdf_job_store": "postgresql://u:p@h/d", "DPDF_PORT": "1"}
    assert secret_variables(environment) == ["DPDF_API_KEYS", "dpdf_job_store"]


def test_the_table_is_printed() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "service", "--settings"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert printed.stdout.strip() == settings_table()


def test_the_process_says_which_setting_is_wrong() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env={"DPDF_PORT": "many"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stderr.startswith("DPDF_PORT: ")
