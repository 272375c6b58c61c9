"""How captions become stretches: the rules by hand, and what must hold for any captions."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from preprocessing.captions import Caption
from preprocessing.stretches import LONGEST, SAME_START, SHORTEST, stretches_of

Timed = tuple[float, float, str]


def stretches(*captions: Timed) -> list[Timed]:
    found, _ = stretches_of([Caption(*caption) for caption in captions])
    return [(stretch.start, stretch.end, stretch.text) for stretch in found]


def codes(*captions: Timed) -> list[str]:
    _, cautions = stretches_of([Caption(*caption) for caption in captions])
    return [caution.code for caution in cautions]


@pytest.mark.parametrize(
    ("captions", "expected"),
    [
        # Long enough and not too long: as they are.
        ([(0, 4, "a"), (4, 9, "b")], [(0, 4, "a"), (4, 9, "b")]),
        # A short one goes with the next, as often as it needs ...
        ([(0, 1, "a"), (1, 4, "b")], [(0, 4, "a b")]),
        (
            [(0, 0.6, "a"), (0.6, 1.2, "b"), (1.2, 5, "c"), (5, 9, "d")],
            [(0, 5, "a b c"), (5, 9, "d")],
        ),
        # ... the last one with the one before ...
        ([(0, 4, "a"), (4, 5, "b")], [(0, 5, "a b")]),
        # ... none over a pause ...
        ([(0, 1, "a"), (2.5, 5, "b")], [(0, 1, "a"), (2.5, 5, "b")]),
        ([(0, 1, "a"), (2, 5, "b")], [(0, 5, "a b")]),
        # ... and none beyond the longest.
        ([(0, 1, "a"), (1, 15.5, "b c")], [(0, 1, "a"), (1, 15.5, "b c")]),
        # In any order.
        ([(4, 9, "b"), (0, 4, "a")], [(0, 4, "a"), (4, 9, "b")]),
        # The earlier ends where the later begins; those that begin together are one.
        ([(0, 5, "a"), (3, 8, "b")], [(0, 3, "a"), (3, 8, "b")]),
        ([(0, 9, "a"), (3, 6, "b")], [(0, 3, "a"), (3, 6, "b")]),
        ([(0, 5, "a"), (0.2, 4, "b")], [(0, 5, "a b")]),
        # Cut at equal lengths, each word where it lies.
        ([(0, 30, "aaaa bbbb cccc dddd")], [(0, 15, "aaaa bbbb"), (15, 30, "cccc dddd")]),
        ([(10, 26, "aa bbbbbbbbbb c")], [(10, 18, "aa"), (18, 26, "bbbbbbbbbb c")]),
        # A word for each part; the rest of its time is left out.
        ([(0, 60, "a b")], [(0, 15, "a"), (30, 45, "b")]),
        ([(0, 600, "a")], [(0, 15, "a")]),
    ],
)
def test_the_rules(captions: list[Timed], expected: list[Timed]) -> None:
    assert (
        stretches(*captions) == pytest.approx(expected)
        if False
        else stretches(*captions) == expected
    )


def test_what_a_reader_should_know() -> None:
    assert codes((0, 4, "a"), (4, 9, "b")) == []
    assert codes((4, 9, "b"), (0, 4, "a")) == ["captions_unsorted"]
    assert codes((0, 5, "a"), (3, 8, "b")) == ["captions_overlap"]
    assert codes((0, 600, "a")) == ["captions_cut"]
    assert codes((0, 45, "a b c d e f")) == []


moments = st.floats(0, 2000, allow_nan=False).map(lambda seconds: round(seconds, 3))
words = st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=40).map(" ".join)
some_captions = st.lists(
    st.tuples(moments, st.floats(0.01, 100).map(lambda s: round(s, 3)), words), min_size=1
)


@example([(0.0, 1.0, "a"), (125.0, 15.0, "a"), (124.75, 0.25, "a")])
@given(some_captions)
def test_any_captions_give_stretches_in_order_with_all_words(
    given_captions: list[tuple[float, float, str]],
) -> None:
    captions = [Caption(start, start + length, text) for start, length, text in given_captions]
    found, _ = stretches_of(captions)
    assert all(0 < stretch.seconds <= LONGEST + 1e-6 for stretch in found)
    assert all(earlier.end <= later.start + 1e-6 for earlier, later in pairwise(found))
    assert all(stretch.text for stretch in found)
    said = sorted(word for caption in captions for word in caption.text.split())
    assert sorted(word for stretch in found for word in stretch.text.split()) == said
    # Nowhere many in little time: that bounds what a transcript can ask for.
    for earlier, later in pairwise(found):
        assert later.start - earlier.start >= SAME_START - 1e-6
    for first, _, third in zip(found, found[1:], found[2:], strict=False):
        assert third.start - first.start >= SHORTEST / 2 - 1e-6
