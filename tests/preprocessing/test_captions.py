"""Captions as people and programs write them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.captions import Caption, read_captions
from preprocessing.errors import EmptyTranscript, InvalidTranscript, TranscriptWithoutTimes

VTT = """WEBVTT

00:01.000 --> 00:02.500
<v Bob>Hello <i>there</i> &amp; you

01:00:03.000 --> 01:00:04.250 align:start
♪

01:00:05.000 --> 01:00:06.000
two
lines
"""

SRT = (
    "1\n00:00:00,500 --> 00:00:01,750\n{\\an8}<i>Hello</i>\n\n2\n00:01:02,000 --> 00:01:03,000\nyou"
)

JSON = json.dumps(
    [{"start": 0, "end": 1.5, "text": " so\ngood "}, {"start": 2, "end": 3, "text": ""}]
)

WHISPER = json.dumps(
    {
        "text": "so good",
        "language": "en",
        "segments": [{"id": 0, "start": 0.0, "end": 1.5, "text": " so good", "tokens": [1, 2]}],
    }
)

ROLLING = """WEBVTT

00:00.000 --> 00:02.000
one two

00:02.000 --> 00:02.010
one two

00:02.010 --> 00:04.000
one two
three four

00:04.000 --> 00:04.010
three four

00:04.010 --> 00:06.000
three four
five
"""


@pytest.mark.parametrize(
    ("source", "suffix", "captions"),
    [
        (
            VTT,
            ".vtt",
            [Caption(1, 2.5, "Hello there & you"), Caption(3605, 3606, "two lines")],
        ),
        (VTT.encode("utf-8-sig"), ".txt", [(1, 2.5), (3605, 3606)]),
        (SRT, ".SRT", [Caption(0.5, 1.75, "Hello"), Caption(62, 63, "you")]),
        (SRT, ".txt", [(0.5, 1.75), (62, 63)]),
        (JSON, ".json", [Caption(0, 1.5, "so good")]),
        (" \n" + JSON, ".txt", [(0, 1.5)]),
        (WHISPER, ".json", [Caption(0, 1.5, "so good")]),
        (
            ROLLING,
            ".vtt",
            [Caption(0, 2, "one two"), Caption(2.01, 4, "three four"), Caption(4.01, 6, "five")],
        ),
    ],
)
def test_words_and_times_are_read(
    source: str | bytes, suffix: str, captions: list[Caption] | list[tuple[float, float]]
) -> None:
    found = read_captions(source, suffix)
    if isinstance(captions[0], Caption):
        assert found == captions
    else:
        assert [(caption.start, caption.end) for caption in found] == captions


def test_what_is_said_twice_is_kept() -> None:
    twice = "1\n00:00:00,000 --> 00:00:01,000\nNo.\n\n2\n00:00:01,000 --> 00:00:02,000\nNo.\n"
    assert [caption.text for caption in read_captions(twice, ".srt")] == ["No.", "No."]


@pytest.mark.parametrize(
    ("source", "suffix", "reason"),
    [
        (b"\xff\xfe", ".json", "not UTF-8"),
        ("words", ".docx", "not '.docx'"),
        ("words", ".vtt", "as VTT"),
        ("WEBVTT\n\n00:02.000 --> 00:02.000\nwords\n", ".vtt", "Caption 1 begins at 2 s"),
        ("WEBVTT\n\n00:03.000 --> 00:02.000\nwords\n", ".vtt", "its end must come after"),
        (SRT.replace("00:01:02,000", "00:xx"), ".srt", "2 lines with times, of which 1"),
        ("{", ".json", "as JSON with times"),
        ("[1]", ".json", r"\(0: "),
        ('[{"start": 0, "end": 1}]', ".json", r"\(0.text: Field required"),
        ('[{"start": "0", "end": 1, "text": "a"}]', ".json", "0.start: .*number"),
        ('[{"start": 0, "end": 1e999, "text": "a"}]', ".json", "0.end: "),
        ('[{"start": -1, "end": 1, "text": "a"}]', ".json", "begins at -1 s"),
        ('{"text": "a"}', ".json", "segments: Field required"),
        ("[" * 100_000, ".json", "as JSON with times"),
    ],
)
def test_what_cannot_be_read_is_named(source: str | bytes, suffix: str, reason: str) -> None:
    with pytest.raises(InvalidTranscript, match=reason):
        read_captions(source, suffix)


@pytest.mark.parametrize("source", ["just words", "1. first\n2. second --> third"])
def test_words_without_times_are_no_captions(source: str) -> None:
    with pytest.raises(TranscriptWithoutTimes, match="does not say when"):
        read_captions(source)


@pytest.mark.parametrize(
    ("source", "suffix"), [("", ".txt"), (" … ", ".txt"), ("[]", ".json"), ("WEBVTT\n\n", ".vtt")]
)
def test_without_a_letter_or_digit_there_is_no_word(source: str, suffix: str) -> None:
    with pytest.raises(EmptyTranscript):
        read_captions(source, suffix)


@given(
    st.text() | st.binary(max_size=200) | st.text().map(lambda text: "WEBVTT\n\n" + text),
    st.sampled_from([".txt", ".vtt", ".srt", ".json"]),
)
def test_anything_gives_captions_or_a_named_error(source: str | bytes, suffix: str) -> None:
    try:
        captions = read_captions(source, suffix)
    except (EmptyTranscript, InvalidTranscript, TranscriptWithoutTimes):
        return
    assert captions
    assert all(0 <= caption.start < caption.end and caption.text for caption in captions)
