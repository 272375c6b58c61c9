"""Known vulnerabilities of every pinned package: ``make audit``.

pip-audit asks PyPI's list of advisories about each pin. It has an environment of its own, as it is
no part of what it looks at. Ends with 1 if a package is vulnerable; with 0 and a message if the
list, or pip-audit itself, cannot be had here within the time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HOME = ROOT / "build" / "audit"
PINS = ("constraints.txt", "requirements-nodeps.txt")


class NotAudited(Exception):
    """The list of advisories cannot be asked; the message says why."""


def main() -> int:
    """Audit the pins; returns the exit code."""
    parser = argparse.ArgumentParser(description="Ask for known vulnerabilities of all pins.")
    parser.add_argument("--seconds", type=float, default=180.0, help="longest time for it all (s)")
    until = time.monotonic() + parser.parse_args().seconds
    try:
        if not (HOME / "bin" / "pip-audit").exists():
            _run([sys.executable, "-m", "venv", str(HOME)], until)
            install = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            _run([str(HOME / "bin" / "python"), *install, "-r", "requirements-audit.txt"], until)
        command = [str(HOME / "bin" / "pip-audit"), "--no-deps", "--disable-pip", "--format=json"]
        command += [part for file in PINS for part in ("--requirement", file)]
        found = _run([*command, "--progress-spinner=off", "--timeout=10"], until)
        audited, vulnerable = verdict(found)
    except NotAudited as error:
        print(f"Dependencies not audited: {error}")
        return 0
    print(
        f"{audited} pinned packages audited, {len(vulnerable)} vulnerable", *vulnerable, sep="\n  "
    )
    return 1 if vulnerable else 0


def verdict(output: str) -> tuple[int, list[str]]:
    """What pip-audit found.

    Returns:
        How many packages were looked up, and a line for each vulnerable one.

    Raises:
        NotAudited: the output is none of pip-audit's, or no package was looked up.
    """
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError) as error:
        raise NotAudited("pip-audit gave no result; the list cannot be reached") from error
    # It counts what it cannot look up as not vulnerable.
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        raise NotAudited(
            f"none of {len(packages)} packages is in the list that can be reached here"
        )
    return len(audited), [
        f"{package['name']} {package['version']}: "
        + ", ".join(advisory["id"] for advisory in package["vulns"])
        for package in audited
        if package["vulns"]
    ]


def _run(command: list[str], until: float) -> str:
    """The command's standard output, whatever its exit code.

    Raises:
        NotAudited: it does not end in time, or cannot be started.
    """
    try:
        return subprocess.run(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=max(0.1, until - time.monotonic()),
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotAudited(f"{Path(command[0]).name} {type(error).__name__}") from error


if __name__ == "__main__":
    sys.exit(main())
