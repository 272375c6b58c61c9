"""From a clip and its transcript to `ClipFeatures`: the one call that the service makes."""

from __future__ import annotations

from preprocessing.clip import (
    AudioFeatures,
    Caution,
    ClipFeatures,
    FaceFeatures,
    TextFeatures,
)

__all__ = ["AudioFeatures", "Caution", "ClipFeatures", "FaceFeatures", "TextFeatures"]
