"""What all tests share: media from `examples.sample_clip`, and real clips where there are any."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.sample_clip import sample_clip

REAL_CLIPS = Path(__file__).parents[1] / ".." / "shared" / "clips"
"""Footage beside the repository; none of it may go into it."""


@pytest.fixture(scope="session")
def talking_clip() -> bytes:
    """Two seconds of portrait and voice: 640x480, 25 fps, MP4 with H.264 and AAC."""
    return sample_clip(seconds=2.0)


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """Folder of real clips; its README says what is in each."""
    if not REAL_CLIPS.is_dir():
        pytest.skip("needs the real clips in ../shared/clips, which are not part of the repository")
    return REAL_CLIPS
