from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from benchmarks.audit import NotAudited, verdict

CLEAN = {"name": "numpy", "version": "2.3.5", "vulns": []}
BAD = {"name": "old", "version": "1.0", "vulns": [{"id": "PYSEC-1"}, {"id": "CVE-2"}]}
UNKNOWN = {"name": "ours", "skip_reason": "Dependency not found on PyPI"}


def said(*packages: Mapping[str, object]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_vulnerable_packages_are_named() -> None:
    assert verdict(said(CLEAN, BAD, UNKNOWN)) == (2, ["old 1.0: PYSEC-1, CVE-2"])
    assert verdict(said(CLEAN)) == (1, [])


@pytest.mark.parametrize("output", ["", "no json", "{}", said(UNKNOWN, UNKNOWN)])
def test_what_was_not_looked_up_does_not_count_as_safe(output: str) -> None:
    with pytest.raises(NotAudited):
        verdict(output)
