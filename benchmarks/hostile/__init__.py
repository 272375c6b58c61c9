"""Hostile media, and a real service that has to stand them: ``python -m benchmarks.hostile``."""
