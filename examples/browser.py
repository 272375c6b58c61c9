"""The page in a real browser without a window: for its tests and for the guide's pictures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
"""Path of an installed Chromium, or empty: playwright's own download of one is not used."""

SWITCHES = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A camera that shows a moving shape and a microphone that beeps, granted without a question.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]

DESKTOP = {"width": 1280, "height": 900}
"""Window (px)."""

PHONE = {"width": 360, "height": 740}
"""Window (px)."""

PATIENCE_MS = 60_000
"""Longest wait for anything on the page (ms); a hang, not a speed, fails."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser with a fresh profile. asyncio.run does not work in this thread meanwhile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


class Visit:
    """The page in a tab of its own, and what went on in it.

    Args:
        browser: from `chromium`.
        address: the page's address.
        context: options of playwright's `new_context`, e.g. ``color_scheme="dark"``.

    Attributes:
        home: the page's address.
        page: the tab.
        requests: addresses that were asked for.
        complaints: what was written to the console, and exceptions that nobody caught.
    """

    def __init__(self, browser: Browser, address: str, **context: Any) -> None:
        self._context = browser.new_context(**{"viewport": DESKTOP, **context})
        self._context.set_default_timeout(PATIENCE_MS)
        self.home = address
        self.page: Page = self._context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)

    def ready(self) -> Visit:
        """Wait until the page says that the service is ready."""
        self.page.wait_for_selector("#state.ready")
        return self

    def fill(self, clip: Path, transcript: str) -> Visit:
        """Choose a clip and write its words."""
        self.page.set_input_files("#clip", clip)
        self.page.fill("#transcript", transcript)
        return self

    def submit(self) -> Visit:
        """Send the form, and wait for the answer or the problem."""
        self.page.click("#submit")
        self.page.wait_for_selector("#result:not([aria-busy='true'])")
        return self

    def drop(self, *files: Path, onto: str = "#drop") -> None:
        """Drag files from outside the browser, as its own machinery would.

        Raises:
            ValueError: there is no such element to be seen.
        """
        box = self.page.locator(onto).bounding_box()
        if box is None:
            raise ValueError(f"{onto} cannot be seen")
        where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        session = self._context.new_cdp_session(self.page)
        for kind in ("dragEnter", "dragOver", "drop"):
            session.send("Input.dispatchDragEvent", {"type": kind, **where, "data": data})

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()
