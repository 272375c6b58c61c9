"""The sample is what it says: a face that moves, and a voice with the pitch it was given."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from examples.sample_clip import TRANSCRIPT, VOICE_RATE, main, portrait, sample_clip, voice
from preprocessing.audio import analyse
from preprocessing.clip import DecodeLimits, Sound
from preprocessing.decode import ClipReader


def test_the_portrait_moves_smoothly() -> None:
    first, next_one, later = portrait(0.0), portrait(0.04), portrait(1.0)
    assert first.shape == (480, 640, 3)
    small, large = (
        np.abs(other.astype(float) - first.astype(float)).mean() for other in (next_one, later)
    )
    assert 0 < small < large


@pytest.mark.parametrize("f0", [110.0, 190.0])
def test_the_voice_is_voiced_at_its_pitch(f0: float) -> None:
    samples = voice(3.0, f0)
    assert len(samples) == 3 * VOICE_RATE
    assert np.abs(samples).max() == pytest.approx(0.5)
    pitch = analyse(Sound(samples[::2])).values[:, -2]
    assert np.isnan(pitch).mean() < 0.2
    # The contour swings by a quarter of an octave to both sides.
    assert np.nanmedian(pitch) == pytest.approx(np.log(f0), abs=0.1)
    assert np.nanmax(pitch) - np.nanmin(pitch) == pytest.approx(0.5 * np.log(2), abs=0.1)


def test_the_sample_clip_is_reproducible() -> None:
    assert sample_clip(seconds=0.2) == sample_clip(seconds=0.2)


def test_the_command_writes_a_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "sample.mp4"
    monkeypatch.setattr(sys, "argv", ["sample_clip", str(target), "--seconds", "0.4"])
    main()
    reader = ClipReader(target, DecodeLimits())
    assert reader.codecs == "h264 video, aac audio"
    assert len(list(reader.frames(10))) == 4
    assert TRANSCRIPT in capsys.readouterr().out
