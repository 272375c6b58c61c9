"""The service against its own OpenAPI document: every check of schemathesis, a seeded few cases."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.running import KEY, Service

TOOL = Path(sys.executable).with_name("schemathesis")
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.slow
def test_the_service_does_what_its_document_says(keyed: Service, tmp_path: Path) -> None:
    """Wrong methods, headers, content types and bodies, links followed; no 5xx anywhere."""
    run = subprocess.run(
        [
            *(str(TOOL), "--config-file", str(CONFIG), "run", "--no-color"),
            *("--max-examples", "8", "--seed", "5", "--continue-on-failure"),
            *("--generation-database", str(tmp_path), "--header", f"Authorization: Bearer {KEY}"),
            f"http://127.0.0.1:{keyed.port}/openapi.json",
        ],
        # It keeps what it has met in a folder of its own.
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert "Tested: " in run.stdout
    assert keyed.client.get("/readyz").status_code == 200
