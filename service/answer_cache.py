"""Answers that are given again for the same bytes, if the operator wants that."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import fields
from typing import Generic, TypeVar

from cachetools import LRUCache

from service.uploads import Upload

AnswerT = TypeVar("AnswerT")


class AnswerCache(Generic[AnswerT]):
    """The last answers of this process, by a hash of all that decides them.

    Neither clips nor words are kept.

    Args:
        answers: how many; the one that was asked for least recently goes first.
        circumstances: what else decides an answer and is the same for all requests: weights,
            precision, who finds the face.
    """

    def __init__(self, answers: int, circumstances: tuple[str, ...]) -> None:
        self._answers: LRUCache[bytes, AnswerT] = LRUCache(answers)
        self._circumstances = circumstances

    async def key(self, upload: Upload) -> bytes:
        """`key_of` in a thread: a large clip takes a tenth of a second."""
        return await asyncio.to_thread(key_of, upload, self._circumstances)

    def get(self, key: bytes) -> AnswerT | None:
        """The answer that was put there, if it is still."""
        return self._answers.get(key)

    def put(self, key: bytes, answer: AnswerT) -> None:
        """Keep an answer."""
        self._answers[key] = answer


def key_of(upload: Upload, circumstances: tuple[str, ...]) -> bytes:
    """sha256 over every field of an upload, with names and lengths, and the circumstances."""
    digest = hashlib.sha256(repr(circumstances).encode())
    for field in fields(upload):
        value = getattr(upload, field.name)
        content = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(f"{field.name} {type(value).__name__} {len(content)}:".encode())
        digest.update(content)
    return digest.digest()
