"""Frames between the server and its workers: a length of 8 bytes, then that many bytes.

What a worker sends is made from hostile input by a process that may have been taken over, so
nothing is unpickled here: heads are JSON, arrays are safetensors, and lengths have limits.

A clip that is too large to be copied about is handed to a worker as an open file, over a socket of
its own: asyncio's streams carry bytes alone.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

_LENGTH_BYTES = 8


def receive(channel: socket.socket) -> bytes:
    """Read one frame in a worker (blocking).

    Raises:
        EOFError: the server closed the channel.
    """
    return _exactly(channel, int.from_bytes(_exactly(channel, _LENGTH_BYTES)))


def send(channel: socket.socket, frames: Sequence[bytes]) -> None:
    """Write frames in a worker (blocking)."""
    for frame in frames:
        channel.sendall(len(frame).to_bytes(_LENGTH_BYTES))
        channel.sendall(frame)


def _exactly(channel: socket.socket, length: int) -> bytes:
    buffer = bytearray(length)
    view = memoryview(buffer)
    while view:
        count = channel.recv_into(view)
        if not count:
            raise EOFError("the server closed the channel")
        view = view[count:]
    return bytes(buffer)


async def receive_async(reader: asyncio.StreamReader, *, limit: int) -> bytes:
    """Read one frame in the server.

    Raises:
        asyncio.IncompleteReadError: the worker is gone.
        ValueError: the frame claims more than `limit` bytes.
    """
    length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES))
    if length > limit:
        raise ValueError(f"a worker announced a frame of {length} bytes; the limit is {limit}")
    return await reader.readexactly(length)


async def send_async(writer: asyncio.StreamWriter, frames: Sequence[bytes]) -> None:
    """Write frames in the server.

    Raises:
        ConnectionError: the worker is gone.
    """
    for frame in frames:
        writer.write(len(frame).to_bytes(_LENGTH_BYTES))
        writer.write(frame)
        await writer.drain()


def send_file(channel: socket.socket, descriptor: int) -> None:
    """Hand an open file to a worker; it can be closed here at once."""
    socket.send_fds(channel, [b"f"], [descriptor])


def receive_file(channel: socket.socket) -> int:
    """Take an open file in a worker (blocking); its descriptor is the caller's to close.

    Raises:
        EOFError: the server closed the channel.
    """
    _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    if not descriptors:
        raise EOFError("the server closed the channel")
    return descriptors[0]
