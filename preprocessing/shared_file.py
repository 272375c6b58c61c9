"""A file that is open already, read by several at once, each at a place of its own.

A worker may open no file by name. What it is handed is one descriptor with one place in the file;
so every reader keeps its own place and reads from there (pread), which leaves the other's alone.
"""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO


class SharedFile:
    """An open file; whoever opened it closes it.

    Attributes:
        size: of the file (bytes).
    """

    def __init__(self, descriptor: int) -> None:
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor

    def open(self) -> BinaryIO:
        """A new reader, at the file's beginning."""
        return io.BufferedReader(_Reader(self._descriptor, self.size))


class _Reader(io.RawIOBase):
    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        # Any writable buffer; Python has a name for the type from 3.12 on.
        with memoryview(buffer) as view:
            content = os.pread(self._descriptor, len(view), self._place)
            view[: len(content)] = content
        self._place += len(content)
        return len(content)
