"""From captions to the stretches of a clip that are scored one by one.

Weights are trained on utterances of some seconds, captions are cut for reading: a word or two may
stand alone, and a speech may stand under one caption. In this order:

1. Captions are sorted by their start. One that goes on when the next begins ends there; of two that
   begin within `SAME_START` of each other the words are joined.
2. A caption shorter than `SHORTEST` is joined with the next one, or else with the one before, if
   no more than `NEAR` lies between them and both together are no longer than `LONGEST`.
3. What is longer than `LONGEST` is cut into the fewest parts of equal length that are not, each
   word going to the part in which it lies if all letters take the same time. A part has one word
   at least; where this leaves it longer than `LONGEST`, its end is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from preprocessing.captions import Caption, unsorted
from preprocessing.clip import Caution

SAME_START: Final = 0.5
"""Captions that begin this close together are one (s)."""

SHORTEST: Final = 2.0
"""Shorter captions are joined with a neighbour (s)."""

NEAR: Final = 1.0
"""Longest pause inside a stretch that is joined from several captions (s)."""

LONGEST: Final = 15.0
"""Longest stretch (s)."""

ROUNDING: Final = 1e-6
"""What sums and quotients of times may be off by (s)."""


def stretches_of(captions: Sequence[Caption]) -> tuple[list[Caption], list[Caution]]:
    """Join and cut captions by the rules above.

    Args:
        captions: at least one, in any order.

    Returns:
        Stretches in the order of time that do not overlap, none longer than `LONGEST`, with all
        words of the captions; and what a reader should know of the captions.
    """
    given = list(captions)
    cautions = []
    if unsorted(given):
        cautions.append(Caution("captions_unsorted", "The captions were not in the order of time."))
    parted, overlapping = _part(sorted(given, key=lambda caption: (caption.start, caption.end)))
    if overlapping:
        cautions.append(
            Caution(
                "captions_overlap",
                f"Captions that begin before the one before them ends, which was taken to end "
                f"there: {overlapping}.",
            )
        )
    cut = [part for stretch in _join(parted) for part in _cut(stretch)]
    shortened = sum(part.seconds > LONGEST + ROUNDING for part in cut)
    if shortened:
        cautions.append(
            Caution(
                "captions_cut",
                f"Stretches with a single word for more than {LONGEST:g} s, of which the first "
                f"{LONGEST:g} s were used: {shortened}.",
            )
        )
    return [Caption(c.start, min(c.end, c.start + LONGEST), c.text) for c in cut], cautions


def _part(captions: Sequence[Caption]) -> tuple[list[Caption], int]:
    """Rule 1 on sorted captions, and how many overlap with the one before."""
    parted: list[Caption] = []
    overlapping = 0
    for caption in captions:
        before = parted.pop() if parted else None
        if before is not None:
            overlapping += caption.start < before.end
            if caption.start - before.start < SAME_START:
                caption = _joined(before, caption)
            else:
                parted.append(Caption(before.start, min(before.end, caption.start), before.text))
        parted.append(caption)
    return parted, overlapping


def _join(captions: Sequence[Caption]) -> list[Caption]:
    """Rule 2: forwards first, then what is left backwards."""
    forwards: list[Caption] = []
    for caption in captions:
        if forwards and forwards[-1].seconds < SHORTEST and _near(forwards[-1], caption):
            forwards[-1] = _joined(forwards[-1], caption)
        else:
            forwards.append(caption)
    both: list[Caption] = []
    for caption in forwards:
        if both and caption.seconds < SHORTEST and _near(both[-1], caption):
            both[-1] = _joined(both[-1], caption)
        else:
            both.append(caption)
    return both


def _near(earlier: Caption, later: Caption) -> bool:
    return later.start - earlier.end <= NEAR and later.end - earlier.start <= LONGEST


def _joined(earlier: Caption, later: Caption) -> Caption:
    return Caption(earlier.start, max(earlier.end, later.end), " ".join((earlier.text, later.text)))


def _cut(caption: Caption) -> Iterator[Caption]:
    """Rule 3; parts are longer than `LONGEST` only where there are fewer words than parts."""
    words = caption.text.split()
    count = min(math.ceil(caption.seconds / LONGEST), len(words))
    if count <= 1:
        yield caption
        return
    parts = _spread(words, count)
    length = caption.seconds / count
    for index, part in enumerate(parts):
        start = caption.start + index * length
        yield Caption(start, start + length, " ".join(part))


def _spread(words: Sequence[str], count: int) -> list[list[str]]:
    """Words into `count` parts by the place of their middle among all letters, no part empty."""
    letters = sum(map(len, words))
    parts: list[list[str]] = [[] for _ in range(count)]
    passed = 0
    for place, word in enumerate(words):
        part = min(count - 1, int(count * (passed + len(word) / 2) / letters))
        # Each part gets a word: not so late that a later part has none, not so early that one is
        # left out.
        latest = next((index for index, filled in enumerate(parts) if not filled), count - 1)
        earliest = count - (len(words) - place)
        parts[max(min(part, latest), earliest)].append(word)
        passed += len(word)
    return parts
