"""Transcripts as people and programs write them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.errors import EmptyTranscript, InvalidTranscript
from preprocessing.transcript import read_transcript

VTT = """WEBVTT - a title

NOTE not spoken

STYLE
::cue { color: red }

7
00:00.000 --> 00:01.000 align:start
<v Bob>Hello <i>there</i> &amp; you

00:01.000 --> 00:02.000
<c.red>my</c> <00:01.500>friend
"""

SRT = """1
00:00:00,000 --> 00:00:01,000
{\\an8}<i>Hello</i>

2
00:00:01,000 --> 00:00:02,000
in 2
lines
"""


@pytest.mark.parametrize(
    ("source", "suffix", "words"),
    [
        ("really good", ".txt", "really good"),
        (b"\xef\xbb\xbfna\xc3\xafve\r\n\tline", ".txt", "naïve line"),
        ("nul\x00 and\x1b bell\x07", ".txt", "nul and bell"),
        ("soft\u00adhyphen\u200b \ufeffmark", ".TXT", "softhyphen mark"),
        ("1 < 2 &amp; <b>", ".txt", "1 < 2 &amp; <b>"),
        (VTT, ".vtt", "Hello there & you my friend"),
        (VTT.replace("\n", "\r\n").encode("utf-8-sig"), ".VTT", "Hello there & you my friend"),
        (SRT, ".srt", "Hello in 2 lines"),
    ],
)
def test_words_are_what_is_left(source: str | bytes, suffix: str, words: str) -> None:
    assert read_transcript(source, suffix) == words


@pytest.mark.parametrize(
    ("source", "suffix"),
    [("", ".txt"), (" \n", ".txt"), ("... !?", ".txt"), ("\x00", ".txt"), ("WEBVTT\n\n", ".vtt")],
)
def test_without_a_letter_or_digit_there_is_no_word(source: str, suffix: str) -> None:
    with pytest.raises(EmptyTranscript, match="no word"):
        read_transcript(source, suffix)


@pytest.mark.parametrize(
    ("source", "suffix", "reason"),
    [
        (b"\xff\xfeh\x00", ".txt", "not UTF-8"),
        (b"caf\xe9", ".txt", "byte 3"),
        ("just words", ".vtt", "as VTT"),
        ("just words", ".srt", "as SRT"),
        ("WEBVTT\n\n00:99.000 --> 00:01.000\nwords\n", ".vtt", "as VTT"),
        ("1\n00:00:99,000 --> 00:xx\nwords", ".srt", "as SRT"),
        ("words", ".docx", "not '.docx'"),
    ],
)
def test_what_cannot_be_read_is_named(source: str | bytes, suffix: str, reason: str) -> None:
    with pytest.raises(InvalidTranscript, match=reason):
        read_transcript(source, suffix)


@given(st.text() | st.binary(max_size=200), st.sampled_from([".txt", ".vtt", ".srt"]))
def test_anything_gives_one_clean_line_or_a_named_error(source: str | bytes, suffix: str) -> None:
    try:
        words = read_transcript(source, suffix)
    except (EmptyTranscript, InvalidTranscript):
        return
    assert words == " ".join(words.split())
    assert not {"Cc", "Cf", "Cs"} & {unicodedata.category(character) for character in words}
