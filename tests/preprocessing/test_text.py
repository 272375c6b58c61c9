"""The tokenizer against the encoder's own tokenizer file, and against ids known by heart."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from preprocessing.schema import MAX_TOKENS, feature_schema
from preprocessing.text import WordPiece, default_encoder_folder

CLS, SEP, UNKNOWN = 101, 102, 100


@pytest.fixture(scope="module")
def tokenizer() -> WordPiece:
    return WordPiece()


def test_hello_world_has_the_ids_of_bert(tokenizer: WordPiece) -> None:
    text = tokenizer.encode("Hello World")
    assert text.input_ids.tolist() == [CLS, 7592, 2088, SEP]
    assert (text.tokens, text.truncated) == (4, False)


@pytest.mark.parametrize(
    "words",
    ["Anyhow, it was REALLY good!", "Füße déjà-vu", "unbelievableness 😀 日本", "[MASK] it's", ""],
)
def test_ids_are_those_of_the_encoders_own_tokenizer(tokenizer: WordPiece, words: str) -> None:
    own = Tokenizer.from_file(str(default_encoder_folder() / "tokenizer.json"))
    own.no_truncation()
    own.no_padding()
    assert tokenizer.encode(words).input_ids.tolist() == own.encode(words).ids


def test_nothing_is_padded_and_long_text_is_cut_before_the_last_separator(
    tokenizer: WordPiece,
) -> None:
    words = "good " * 300
    text = tokenizer.encode(words)
    assert (text.tokens, text.truncated) == (302, True)
    assert text.input_ids.tolist() == [CLS, *[2204] * (MAX_TOKENS - 2), SEP]
    exact = tokenizer.encode("good " * (MAX_TOKENS - 2))
    assert (exact.tokens, exact.truncated, len(exact.input_ids)) == (MAX_TOKENS, False, MAX_TOKENS)


def test_a_vocabulary_of_ones_own(tmp_path: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "so", "##me"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    own = WordPiece(tmp_path)
    assert own.encode("SOME thing").input_ids.tolist() == [2, 5, 6, 1, 3]
    assert own.sha256 == hashlib.sha256("\n".join(words).encode()).hexdigest()


def test_a_folder_without_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"vocab\.txt"):
        WordPiece(tmp_path)


def test_the_schemas_fingerprint_follows_the_vocabulary(tokenizer: WordPiece) -> None:
    schema = feature_schema(tokenizer.sha256)
    assert schema.tokenizer == tokenizer.sha256
    assert schema.fingerprint != feature_schema("0" * 64).fingerprint
    assert schema.from_json(schema.to_json()) == schema


def test_words_have_their_characters_and_their_tokens(tokenizer: WordPiece) -> None:
    text = "don't  stop, unbelievable \u00e9clair"
    words = tokenizer.words(text)
    assert [text[word.start : word.end] for word in words] == text.split()
    ids = tokenizer.encode(text).input_ids
    assert words[0].first_token == 1
    assert [w.first_token for w in words[1:]] == [w.end_token for w in words[:-1]]
    assert words[-1].end_token == len(ids) - 1
    # Three and two: don ' t, stop ,
    assert [w.end_token - w.first_token for w in words[:2]] == [3, 2]


def test_words_that_are_cut_off_are_left_out(tokenizer: WordPiece) -> None:
    # Five tokens are kept: [CLS], so, don, ', [SEP].
    (word,) = tokenizer.words("so don't go", max_tokens=5)
    assert (word.start, word.end) == (0, 2)
    assert len(tokenizer.words("so don't go", max_tokens=6)) == 2
    assert tokenizer.words("") == ()


def test_a_word_of_dropped_characters_has_no_tokens(tokenizer: WordPiece) -> None:
    words = tokenizer.words("a \ufffd b")
    assert [(word.start, word.end) for word in words] == [(0, 1), (4, 5)]
