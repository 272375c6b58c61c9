"""Transcripts that are hostile or lie: never a 5xx, by the whole road and by hypothesis."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.sample_clip import voice, write_clip
from preprocessing.errors import EmptyTranscript, InvalidTranscript
from preprocessing.features import default_tokenizer
from preprocessing.transcript import read_transcript
from tests.service.running import Service

PLANES = range(17)
KIB = 1024
CUE = "00:00.000 --> 00:01.000\nreally good\n\n"
SRT_CUE = "1\n00:00:00,000 --> 00:00:01,000\nreally good\n\n"

LIES = {
    "empty.vtt": "",
    "head alone.vtt": "WEBVTT",
    "backwards.vtt": "WEBVTT\n\n00:09.000 --> 00:01.000\nreally good\n",
    "for ever.vtt": "WEBVTT\n\n00:00.000 --> 99999:59:59.999\nreally good\n",
    "before time.vtt": "WEBVTT\n\n-1:00.000 --> 00:01.000\nreally good\n",
    "minute 99.vtt": "WEBVTT\n\n00:99.000 --> 00:99:99.999\nreally good\n",
    "no words.vtt": "WEBVTT\n\n" + "00:00.000 --> 00:01.000\n\n" * 2000,
    "many cues.vtt": "WEBVTT\n\n" + CUE * 5000,
    "arrows.vtt": "WEBVTT\n\n" + "-->" * 50_000,
    "tags.vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\n" + "<b>" * 50_000 + "good\n",
    "open tag.vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\n" + "<" * 100_000 + "good\n",
    "entities.vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\n" + "&#x110000;&#0;&amp" * 9000 + "good\n",
    "styles.vtt": "WEBVTT\n\nSTYLE\n" + "::cue{" * 20_000 + "\n\n" + CUE,
    "notes.vtt": "WEBVTT\n\n" + "NOTE x\n\n" * 20_000 + CUE,
    "srt inside.vtt": SRT_CUE,
    "vtt inside.srt": "WEBVTT\n\n" + CUE,
    "numbers.srt": "9" * 100_000 + "\n" + SRT_CUE,
    "no numbers.srt": "00:00:00,000 --> 00:00:01,000\nreally good\n",
    "overrides.srt": "1\n00:00:00,000 --> 00:00:01,000\n" + "{\\" * 50_000 + "good\n",
    "override without end.srt": "1\n00:00:00,000 --> 00:00:01,000\n{\\" + "a" * 100_000 + " good\n",
    "many cues.srt": SRT_CUE * 4000,
    "nul.srt": SRT_CUE.replace("really", "\0really\0"),
    "marks.txt": "\ufeff" * 1000 + "good",
    "one word.txt": "a" * 200 * KIB,
    "nul.txt": "\0" * KIB + "good",
    "combining.txt": "good" + "\u0301" * 50_000,
    "right to left.txt": "\u202e\u2066good\u2069" * 5000,
    "joined.txt": "\U0001f468\u200d" * 20_000 + " good",
}
"""Transcript files by name: what they claim to be is in the extension."""


@cache
def sound() -> bytes:
    return write_clip(samples=voice(0.3), container="wav", audio_codec="pcm_s16le")


def send(service: Service, name: str, content: bytes) -> int:
    parts = {"video": ("c.wav", sound()), "transcript": (name, content)}
    answer = service.client.post("/predict", files=parts)
    if answer.status_code != 200:
        assert answer.json()["param"] == "transcript", answer.text
        assert len(answer.json()["detail"]) < 500
    return answer.status_code


@pytest.mark.parametrize("plane", PLANES)
def test_every_plane_of_unicode_is_a_transcript(service: Service, plane: int) -> None:
    # Every 23rd character; surrogates are no UTF-8.
    text = "".join(
        chr(point)
        for point in range(plane << 16, (plane + 1) << 16, 23)
        if not 0xD800 <= point < 0xE000
    )
    assert send(service, "words.txt", text.encode()) in (200, 422)
    assert send(service, "words.txt", f"good {text}".encode()) == 200


@pytest.mark.parametrize("name", LIES)
def test_files_that_lie(service: Service, name: str) -> None:
    assert send(service, name, LIES[name].encode()) in (200, 422)


@pytest.mark.parametrize("suffix", [".txt", ".vtt", ".srt"])
def test_a_megabyte_is_refused_and_so_is_what_is_no_text(service: Service, suffix: str) -> None:
    assert send(service, f"w{suffix}", b"good " * 200 * KIB) == 413
    for noise in (b"\xff\xfe\x00", b"\xed\xa0\x80", b"\xc0\x80", bytes(range(256)), b"\xf8" * 99):
        assert send(service, f"w{suffix}", noise) == 422


cues = st.lists(
    st.sampled_from(["00:00.000", "00:01,000", "-->", "1", "\n", "\n\n", "WEBVTT", "NOTE", "<v a>"])
    | st.text(max_size=9),
    max_size=40,
).map(" ".join)


@settings(deadline=None, max_examples=200)
@given(
    st.text(st.characters(codec="utf-8"), max_size=300) | cues | cues.map("WEBVTT\n\n".__add__),
    st.sampled_from([".txt", ".vtt", ".srt"]),
)
def test_any_text_becomes_tokens_or_a_named_error(text: str, suffix: str) -> None:
    try:
        words = read_transcript(text.encode(), suffix)
    except (EmptyTranscript, InvalidTranscript):
        return
    features = default_tokenizer().encode(words)
    assert 2 <= len(features.input_ids) <= features.tokens


@pytest.mark.parametrize("name", LIES)
def test_a_megabyte_of_it_is_read_or_named(name: str) -> None:
    content = LIES[name] or "x"
    text = (content * (1024 * KIB // len(content) + 1))[: 1024 * KIB]
    try:
        words = read_transcript(text.encode(), name[-4:])
    except (EmptyTranscript, InvalidTranscript):
        return
    assert default_tokenizer().encode(words).tokens >= 2
