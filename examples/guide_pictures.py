"""Make the pictures of docs/guide.md anew: the page with sample clips, in an installed Chromium.

python -m examples.guide_pictures [FOLDER]
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser

from examples.browser import CHROMIUM, Visit, chromium
from examples.demo import ROOT, wait_until_ready
from examples.sample_clip import TRANSCRIPT, sample_clip, voice, write_clip

FOLDER = ROOT / "docs" / "pictures"

WINDOW = {"width": 1040, "height": 700}
"""Small enough that letters can be read in the document (px)."""

SENTENCES = (
    TRANSCRIPT,
    "The weather report said it would rain.",
    "Honestly, the food was terrible and cold.",
    "We still had a great time together.",
)

SENTENCE_SECONDS = 3
"""Length of each sentence's stretch in the sample with captions (s)."""


def captions() -> str:
    """The sentences as WebVTT, one after the other."""
    cues = [
        f"00:{SENTENCE_SECONDS * i:02d}.000 --> 00:{SENTENCE_SECONDS * (i + 1):02d}.000\n{sentence}"
        for i, sentence in enumerate(SENTENCES)
    ]
    return "\n\n".join(["WEBVTT", *cues])


def plain(visit: Visit, clips: Path) -> dict[str, bytes]:
    """The sample as it comes."""
    clip = clips / "sample.mp4"
    clip.write_bytes(sample_clip())
    page = visit.fill(clip, TRANSCRIPT).submit().page
    # The control bar of a video fades in and out by its own clock.
    page.evaluate("document.querySelectorAll('video').forEach(v => v.controls = false)")
    page.evaluate("scrollTo(0, 0)")
    pictures = {"page.png": page.screenshot(), "score.png": page.locator(".verdict").screenshot()}
    explanation = page.locator(".block", has=page.locator(".shares"))
    pictures["explanation.png"] = explanation.screenshot()
    pictures["gate.png"] = page.locator(".gate").screenshot()
    return pictures


def timed(visit: Visit, clips: Path) -> dict[str, bytes]:
    """A longer sample with captions."""
    clip = clips / "captions.mp4"
    clip.write_bytes(sample_clip(SENTENCE_SECONDS * len(SENTENCES)))
    page = visit.fill(clip, captions()).submit().page
    page.evaluate("document.querySelector('.player video').hidden = true")
    return {"timeline.png": page.locator(".block", has=page.locator(".player")).screenshot()}


def incomplete(visit: Visit, clips: Path) -> dict[str, bytes]:
    """A sample of sound alone."""
    clip = clips / "sound.mp4"
    clip.write_bytes(write_clip(samples=voice(3.0)))
    page = visit.fill(clip, TRANSCRIPT).submit().page
    return {"warning.png": page.locator(".warnings").screenshot()}


SCENES: tuple[Callable[[Visit, Path], dict[str, bytes]], ...] = (plain, timed, incomplete)


@contextmanager
def own_service() -> Iterator[str]:
    """A service on a free port; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}/"
    port = address.rstrip("/").rpartition(":")[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env={**os.environ, "DPDF_PORT": port, "DPDF_LOG_LEVEL": "error"},
    )
    try:
        with httpx.Client(base_url=address) as client:
            wait_until_ready(client, process)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def make(browser: Browser, address: str, folder: Path) -> None:
    """Write all pictures as PNG."""
    with tempfile.TemporaryDirectory() as clips:
        for scene in SCENES:
            with Visit(browser, address, viewport=WINDOW, reduced_motion="reduce") as visit:
                for name, picture in scene(visit.ready(), Path(clips)).items():
                    (folder / name).write_bytes(picture)
                    print(f"{name}: {len(picture) // 1000} kB")


def main() -> int:
    """Write the pictures; returns the exit code."""
    parser = argparse.ArgumentParser(description="Make the guide's pictures.")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    folder: Path = parser.parse_args().folder
    if not CHROMIUM:
        print("Chromium is needed: apt-get install chromium", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with own_service() as address, chromium() as browser:
        make(browser, address, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
