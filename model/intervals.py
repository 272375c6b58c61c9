"""How far a score may be off: split conformal intervals.

After Papadopoulos et al. (2002) and Lei et al. (2018). The half width is c (1 + s |score|): strong
scores err more, and c is the quantile of the validation errors, each divided by (1 + s |score|),
that makes intervals cover the wanted share. There is a rule for each set of modalities a clip can
have, because what is missing widens the interval.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

COVERAGE = 0.9
"""Share of validation labels that the intervals hold."""

LIMIT = 3.0
"""Ends of the sentiment scale."""


@dataclass(frozen=True, slots=True)
class IntervalRule:
    """c and s of one set of modalities.

    Attributes:
        width: c, half width at a score of 0 (scale points).
        slope: s, relative growth a scale point.
        samples: validation samples it was computed from.
    """

    width: float
    slope: float
    samples: int

    def around(self, raw_score: float) -> tuple[float, float]:
        """Lower and upper end of the interval of an unclipped score, within [-3, 3]."""
        half = self.width * (1 + self.slope * abs(raw_score))
        low, high = raw_score - half, raw_score + half
        return max(-LIMIT, min(LIMIT, low)), max(-LIMIT, min(LIMIT, high))


Intervals = Mapping[frozenset[str], IntervalRule]
"""Rules by the modalities that a clip has."""


def to_json(intervals: Intervals) -> str:
    """JSON with a key such as ``"audio+text"`` for each set of modalities."""
    return json.dumps({"+".join(sorted(key)): asdict(rule) for key, rule in intervals.items()})


def from_json(text: str) -> Intervals:
    """Read what `to_json` wrote.

    Raises:
        TypeError: a field is missing or unknown.
        ValueError: no JSON.
    """
    return {
        frozenset(key.split("+")): IntervalRule(**rule) for key, rule in json.loads(text).items()
    }
