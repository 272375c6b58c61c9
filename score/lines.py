"""What is written of each clip: lines of a CSV, or JSON lines; and an earlier run's, read again."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Line:
    """What is written of a clip; empty but for the file where there is an error.

    Attributes:
        file: the clip, as it was given.
        score: sentiment, -3..3.
        low: lower end of the 90 % interval; None where the weights are not calibrated.
        high: upper end.
        global_weight: weight of the global path, 0..1.
        local_weight: weight of the local path.
        warnings: codes of what to know about the score.
        error: why there is no score.
    """

    file: str
    score: float | None = None
    low: float | None = None
    high: float | None = None
    global_weight: float | None = None
    local_weight: float | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None


COLUMNS = [field.name for field in fields(Line)]
"""Columns of the CSV, keys of the JSON lines."""


def written(out: Path) -> set[str]:
    """The clips that an earlier run wrote a line of; what it left of a last line is cut off.

    Raises:
        ValueError: it is no file that `write` writes.
    """
    whole = out.read_bytes()
    kept = whole[: whole.rfind(b"\n") + 1]
    lines = kept.decode("utf-8", "replace").splitlines(keepends=True)
    try:
        rows = list(csv.DictReader(lines)) if is_csv(out) else [json.loads(line) for line in lines]
        found = {row["file"] for row in rows if set(row) == set(COLUMNS)}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{out} is none of this program's files: {error}") from error
    if len(found) < len(rows):
        raise ValueError(f"{out} has other columns than this program writes, or a clip twice")
    if kept != whole:
        os.truncate(out, len(kept))
    return found


def is_csv(out: Path | None) -> bool:
    """Whether this file is written as CSV."""
    return out is not None and out.suffix.lower() == ".csv"


def write(lines: Iterable[Line], target: TextIO, *, as_csv: bool, header: bool = True) -> int:
    """Write lines as they come, as CSV or as JSON lines; returns how many have an error."""
    table = csv.DictWriter(target, COLUMNS, lineterminator="\n")
    if as_csv and header:
        table.writeheader()
    failed = 0
    for line in lines:
        failed += line.error is not None
        if as_csv:
            table.writerow(asdict(line) | {"warnings": " ".join(line.warnings)})
        else:
            target.write(json.dumps(asdict(line), ensure_ascii=False) + "\n")
        target.flush()
    return failed
