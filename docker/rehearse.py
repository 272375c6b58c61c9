"""Rehearse the Dockerfile without Docker: its own steps, in an empty folder and environment.

Reads the Dockerfile and does what it says: ENV and ARG set variables, COPY copies (only what
`.dockerignore` lets through), RUN runs, with the Python of a new virtual environment as `python`.
The absolute paths that WORKDIR and ENV name are moved below the empty folder. Then the image's
command is started under docker-compose.yml's conditions (all but /tmp and volumes read-only, no
capabilities), asked by the image's own health check, and stopped with the image's signal.

    python docker/rehearse.py [--keep FOLDER]

What needs root (adding a user) is skipped and said.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

NEEDS_ROOT = ("groupadd", "useradd")
"""Commands that are left out of the rehearsal."""

READY_SECONDS = 600.0
"""How long to wait until the health check passes (s): the machine may be busy with other things."""

START_PERIOD_SECONDS = 180.0
"""How long Docker waits, which is the Dockerfile's start period (s); more than that is said."""

STOP_SECONDS = 40.0
"""How long it may take to stop: docker-compose.yml's stop_grace_period (s)."""


class RehearsalError(RuntimeError):
    """A step did not do what the image needs."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction of a Dockerfile.

    Attributes:
        word: the instruction in capitals.
        rest: its text on one line, without flags such as ``--mount=...``.
    """

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The exec form's list, or the text split as a shell would."""
        if self.rest.startswith("["):
            return [str(part) for part in json.loads(self.rest)]
        return shlex.split(self.rest)


def steps_of(dockerfile: str) -> list[Step]:
    """The instructions in their order; comments left out, continued lines joined."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    steps = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            rest = re.sub(r"^(\s*--[a-z-]+=\S+)+", "", rest)
            steps.append(Step(word.upper(), " ".join(rest.split())))
    return steps


def say(line: str) -> None:
    """Tell the reader at once, in order with what the steps print."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Rehearsal:
    """An image in the making, as a folder.

    Attributes:
        folder: everything lies below it.
        variables: what ENV and ARG have set.
        workdir: where RUN runs and COPY copies to.
        command: what the container would run.
        check: the health check's command.
        stop_signal: what asks it to stop.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workdir = folder
        self.command: list[str] = []
        self.check: list[str] = []
        self.stop_signal = signal.SIGTERM
        self._entry: list[str] = []
        self._moved: list[str] = []
        self._volumes: list[Path] = []
        self._ignored = _ignore_rules((ROOT / ".dockerignore").read_text())
        environment = folder / "environment"
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        # pip's settings and nothing else of the host: an image starts with nothing.
        passed = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_"))}
        self.variables = passed | {
            "PATH": f"{environment / 'bin'}:/usr/bin:/bin",
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
        }
        for name in ("home", "tmp"):
            (folder / name).mkdir()

    def do(self, step: Step) -> None:
        """Follow one instruction.

        Raises:
            RehearsalError: it fails, or is not known here.
        """
        match step.word:
            case "FROM" | "EXPOSE" | "USER":
                pass
            case "ARG":
                name, given, value = step.rest.partition("=")
                if given:
                    self.variables.setdefault(name, value)
            case "ENV":
                for pair in step.words:
                    name, _, value = pair.partition("=")
                    self.variables[name] = self._move(value)
            case "WORKDIR":
                self.workdir = Path(self._move(step.rest))
                self.workdir.mkdir(parents=True)
            case "COPY":
                *sources, target = step.words
                self._copy(sources, self.workdir / target)
            case "VOLUME":
                for path in step.words:
                    volume = Path(self._move(path))
                    volume.mkdir(parents=True)
                    self._volumes.append(volume)
            case "RUN":
                self._run(step.rest)
            case "HEALTHCHECK":
                self.check = json.loads(step.rest.removeprefix("CMD "))
            case "STOPSIGNAL":
                self.stop_signal = signal.Signals[step.rest]
            case "ENTRYPOINT":
                self._entry = step.words
            case "CMD":
                self.command = [*self._entry, *step.words]
            case _:
                raise RehearsalError(f"{step.word} is not known to the rehearsal")

    def _move(self, value: str) -> str:
        """Put an absolute path below the folder and remember to do so in commands."""
        if not value.startswith("/"):
            return value
        self._moved.append(value)
        return f"{self.folder}{value}"

    def _copy(self, patterns: Sequence[str], target: Path) -> None:
        for pattern in patterns:
            found = [path for path in sorted(ROOT.glob(pattern)) if self._in_context(path)]
            if not found:
                raise RehearsalError(
                    f"COPY {pattern}: nothing there, or .dockerignore keeps it out"
                )
            for path in found:
                # As Docker does: a folder's content goes into the target, a file under its name.
                for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                    if file.is_file() and self._in_context(file):
                        base = path if path.is_dir() else path.parent
                        copied = target / file.relative_to(base)
                        copied.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy2(file, copied)

    def _in_context(self, path: Path) -> bool:
        """Whether the builder would be given this file: the last rule that fits decides."""
        parts = path.relative_to(ROOT).parts
        names = ["/".join(parts[: i + 1]) for i in range(len(parts))]
        if path.is_dir():
            # A folder is passed for what is in it.
            return any(self._in_context(p) for p in path.rglob("*") if p.is_file())
        kept = True
        for keep, pattern in self._ignored:
            anywhere = pattern.removeprefix("**/")
            fits = any(_matches(name, pattern) for name in names)
            if pattern != anywhere:
                fits = any(_matches(part, anywhere) for part in parts)
            if fits:
                kept = keep
        return kept

    def _run(self, text: str) -> None:
        if any(name in shlex.split(text) for name in NEEDS_ROOT):
            say(f"   left out, needs root: {text}")
            return
        for path in self._moved:
            text = text.replace(path, f"{self.folder}{path}")
        done = subprocess.run(
            ["/bin/sh", "-c", text], cwd=self.workdir, env=self.variables, check=False
        )
        if done.returncode:
            raise RehearsalError(f"RUN ended with {done.returncode}: {text}")

    def serve(self) -> None:
        """Start the container's command, wait for its health check, stop it.

        Raises:
            RehearsalError: it does not become healthy, or does not stop cleanly.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        environment = self.variables | {"DPDF_HOST": "127.0.0.1", "DPDF_PORT": port}
        started = time.monotonic()
        for path in self._folders():
            path.chmod(0o555)
        process = subprocess.Popen(
            [*_without_privileges(), *self.command], cwd=self.workdir, env=environment
        )
        try:
            self._wait_until_healthy(process, environment)
            seconds = time.monotonic() - started
            late = " (later than the start period!)" if seconds > START_PERIOD_SECONDS else ""
            say(f"== healthy after {seconds:.1f} s{late}")
            process.send_signal(self.stop_signal)
            code = process.wait(STOP_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            for path in self._folders():
                path.chmod(0o755)
        if code:
            raise RehearsalError(f"stopped with exit code {code}, not 0")
        say("== stopped with exit code 0")

    def _wait_until_healthy(
        self, process: subprocess.Popen[bytes], environment: dict[str, str]
    ) -> None:
        deadline = time.monotonic() + READY_SECONDS
        said = "nothing"
        while process.poll() is None and time.monotonic() < deadline:
            check = subprocess.run(
                self.check, cwd=self.workdir, env=environment, capture_output=True, check=False
            )
            said = check.stdout.decode().strip()
            if check.returncode == 0:
                say(f"== {said}")
                return
            time.sleep(1)
        raise RehearsalError(f"the health check did not pass; it said: {said}")

    def _folders(self) -> list[Path]:
        """Every folder of the image that compose mounts read-only: all but /tmp and volumes."""
        below = [p for p in self.folder.iterdir() if p.is_dir() and p.name != "tmp"]
        found = [
            self.folder,
            *below,
            *(q for p in below for q in p.rglob("*/") if not q.is_symlink()),
        ]
        return [path for path in found if path not in self._volumes]


def _without_privileges() -> list[str]:
    """Give the start of a command that takes a process's capabilities away.

    Without them file permissions hold for root, too.
    """
    tool = shutil.which("setpriv")
    if tool is None:
        raise RehearsalError("setpriv is needed, which is part of util-linux")
    dropped = ["--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    return [tool, "--no-new-privs", *dropped]


def _ignore_rules(text: str) -> list[tuple[bool, str]]:
    lines = [line.strip() for line in text.splitlines()]
    rules = [line for line in lines if line and not line.startswith("#")]
    return [(rule.startswith("!"), rule.removeprefix("!")) for rule in rules]


def _matches(name: str, pattern: str) -> bool:
    # An asterisk stays within one folder's level.
    return name.count("/") == pattern.count("/") and fnmatch(name, pattern)


def main() -> int:
    """Rehearse; returns the exit code."""
    parser = argparse.ArgumentParser(description="Rehearse the Dockerfile without Docker.")
    parser.add_argument("--keep", type=Path, help="an empty folder to work in and to leave behind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dpdf-rehearsal-") as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        try:
            rehearsal = Rehearsal(folder)
            for step in steps_of((ROOT / "Dockerfile").read_text()):
                say(f"== {step.word} {step.rest}")
                rehearsal.do(step)
            rehearsal.serve()
        except RehearsalError as error:
            say(f"FAILED: {error}")
            return 1
        say(f"== rehearsed in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
