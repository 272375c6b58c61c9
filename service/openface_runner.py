"""An operator's own OpenFace: its FeatureExtraction in place of the built-in face tracker.

OpenFace's licence forbids shipping it, so the binary is mounted and named by a setting. It runs
without a shell, in a folder of its own, for one clip at a time and within a deadline. What it
wrote decides, not its exit code, which says little.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from asyncio.subprocess import DEVNULL, Process
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from preprocessing.openface_csv import MOST_BYTES
from service.reports import CautionReport, Report

log = structlog.stdlib.get_logger(__name__)

FLAGS: Final = ("-2Dfp", "-3Dfp", "-pdmparams", "-pose", "-gaze", "-aus")
"""Ask FeatureExtraction for every column, and for none of its pictures and videos."""

FAILED: Final = "openface_failed"
"""Code of the warning that the operator's OpenFace failed."""

_PASSED: Final = ("PATH", "LD_LIBRARY_PATH", "LANG")
"""Environment variables that the binary sees; ours may hold secrets."""


class OpenFaceFailed(Exception):
    """OpenFace gave no file for a clip; the message says why."""


class OpenFaceRunner:
    """Runs the binary, a few at a time.

    Args:
        binary: OpenFace's FeatureExtraction.
        seconds: longest time for one clip (s).
        at_once: most processes at a time.
    """

    def __init__(self, binary: Path, *, seconds: float, at_once: int) -> None:
        self._binary = binary
        self._seconds = seconds
        self._places = asyncio.Semaphore(at_once)

    def reason(self) -> str | None:
        """Why it cannot be run, or None."""
        if not self._binary.is_file():
            return f"DPDF_OPENFACE_BINARY names {self._binary}, and there is no such file"
        if not os.access(self._binary, os.X_OK):
            return f"DPDF_OPENFACE_BINARY names {self._binary}, which may not be executed"
        return None

    async def table_or_warning(self, video: bytes) -> tuple[bytes | None, str | None]:
        """The CSV of a clip; or None, and what to warn of."""
        try:
            return await self.run(video), None
        except OpenFaceFailed as error:
            return None, instead(error)

    async def run(self, video: bytes) -> bytes:
        """The CSV of a clip.

        Cancelling this call ends the process.

        Raises:
            OpenFaceFailed: nothing was written in time, or too much.
        """
        async with self._places:
            try:
                return await self._in_a_folder(video)
            except OSError as error:
                raise OpenFaceFailed(
                    f"OpenFace has no place for its files ({error.strerror})"
                ) from error

    async def _in_a_folder(self, video: bytes) -> bytes:
        with tempfile.TemporaryDirectory(prefix="openface-") as name:
            folder = Path(name)
            clip = folder / "clip.mp4"
            await asyncio.to_thread(clip.write_bytes, video)
            await self._execute(clip, folder)
            written = folder / "clip.csv"
            if not written.is_file() or not written.stat().st_size:
                raise OpenFaceFailed("OpenFace wrote no file")
            if written.stat().st_size > MOST_BYTES:
                raise OpenFaceFailed(f"OpenFace wrote more than {MOST_BYTES:,} bytes")
            return await asyncio.to_thread(written.read_bytes)

    async def _execute(self, clip: Path, folder: Path) -> None:
        arguments = ("-f", str(clip), "-out_dir", str(folder), "-of", "clip", *FLAGS)
        environment = {key: os.environ[key] for key in _PASSED if key in os.environ}
        try:
            process = await asyncio.create_subprocess_exec(
                self._binary,
                *arguments,
                cwd=folder,
                env=environment | {"HOME": str(folder)},
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise OpenFaceFailed(f"OpenFace cannot be started ({error.strerror})") from error
        try:
            async with asyncio.timeout(self._seconds):
                await process.wait()
        except TimeoutError as error:
            raise OpenFaceFailed(f"OpenFace took more than {self._seconds:g} s") from error
        finally:
            await _end(process)


def instead(error: Exception) -> str:
    """The warning that the built-in tracker stood in, and why."""
    log.warning("OpenFace failed on a clip", reason=str(error))
    return f"{str(error).rstrip('.')}; the built-in tracker was used instead."


def with_source(report: Report) -> Report:
    """The report with what a worker cannot know: that the file it was given is OpenFace's own."""
    if report.face is None:
        return report
    return report.model_copy(update={"face": report.face.model_copy(update={"source": "openface"})})


def with_warning(report: Report, warning: str) -> Report:
    """The report with a caution that OpenFace failed."""
    caution = CautionReport(code=FAILED, message=warning)
    return report.model_copy(update={"cautions": (*report.cautions, caution)})


async def _end(process: Process) -> None:
    """Kill the process and whatever it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
