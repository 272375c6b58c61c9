"""Run once what is slow the first time, so that its caches can be baked into the image."""

from __future__ import annotations

from preprocessing import mediapipe_quietly  # noqa: F401 - makes matplotlib list its fonts
from preprocessing.audio import warm_up

if __name__ == "__main__":
    warm_up()
