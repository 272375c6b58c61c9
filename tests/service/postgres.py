"""A PostgreSQL of the tests' own, where this machine has its programs (Debian: postgresql)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.service.running import free_port


def _programs() -> Path | None:
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextmanager
def postgres() -> Iterator[str]:
    """Its URL; skips where there is none."""
    programs = _programs()
    # It refuses to run as root; Debian's package brings a user for it.
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if programs is None or (user and not shutil.which("runuser")):
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="dpdf-postgres-"))
    if user:
        shutil.chown(folder, "postgres")
    data, port = str(folder / "data"), free_port()

    def run(*command: str) -> None:
        done = subprocess.run(
            [*user, str(programs / command[0]), *command[1:]],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()

    try:
        run("initdb", "-D", data, "-A", "trust", "-U", "dpdf", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -c fsync=off -p {port} -k {folder}"
        run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://dpdf@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
