"""Read pickles that hold arrays, lists, dicts, strings and numbers, and refuse all others.

A pickle is a program: it names functions and has them called, so opening a stranger's file can run
anything. Here a file reaches none of Python's or numpy's functions. The few names that every
pickled array contains lead to stand-ins of ours, which only take down what they are given; arrays
are made when the file is closed, from data that has been checked. numpy itself would not do: its
``dtype`` takes a state that passes bytes off as pointers to objects.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

DEEPEST = 16
"""Containers within containers that are followed; a features file has three."""

_SIMPLE = re.compile(r"b1|[iu][1248]|f[248]|[SU][1-9]\d{0,6}|O[48]?")
"""Type codes of truth values, integers, floats, byte and character strings, and Python objects."""


class RefusedPickleError(ValueError):
    """The file is no pickle, or holds something else than plain values; says what and where."""


class _Function:
    """Stands for one of numpy's functions; calling it calls ours."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., object]) -> None:
        self._call = call

    def __call__(self, *arguments: object) -> object:
        return self._call(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        # Without this a file could set the attributes of what its next name leads to.
        raise RefusedPickleError("it gives a state to a function")


class _Dtype:
    """Stands for a numpy dtype: one of `_SIMPLE` and a byte order, never fields."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not _SIMPLE.fullmatch(code):
            raise RefusedPickleError(f"it holds an array of type {code!r}")
        self._code = code
        self._order = "="

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), ("<" | ">" | "|" | "=") as order, None, None, None, *_):
                self._order = order
            case _:
                raise RefusedPickleError(f"it holds an array of fields or subarrays: {state!r}")

    @property
    def holds_objects(self) -> bool:
        return self._code.startswith("O")

    def made(self) -> np.dtype[Any]:
        return np.dtype(self._order + self._code)


class _Array:
    """Stands for a numpy array until the file is read."""

    __slots__ = ("axes", "data", "dtype", "order", "shape")

    def __init__(self) -> None:
        self.shape: object = None
        self.dtype: object = None
        self.data: object = None
        self.order = "C"
        self.axes: object = None

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), shape, dtype, fortran, data):
                self.shape, self.dtype, self.data = shape, dtype, data
                self.order = "F" if fortran else "C"
            case _:
                raise RefusedPickleError("it holds an array whose state is not numpy's")


def _reconstruct(kind: object, *_: object) -> _Array:
    """Protocols 2 to 4 make an empty array first and give it its state later."""
    if kind is not _NDARRAY:
        raise RefusedPickleError(f"it makes an array of kind {type(kind).__name__}")
    return _Array()


def _from_buffer(
    data: object, dtype: object, shape: object, order: object, axes: object = None
) -> _Array:
    """Protocol 5 has the data in one piece; order K comes with the order of the axes."""
    array = _Array()
    array.shape, array.dtype, array.data, array.axes = shape, dtype, data, axes
    array.order = "F" if order == "F" else "C"
    return array


def _scalar(dtype: object, data: object) -> object:
    """Give a single number or string as Python's own type."""
    if not isinstance(dtype, _Dtype) or dtype.holds_objects or not isinstance(data, bytes):
        raise RefusedPickleError("it holds a numpy scalar that is no number or string")
    return np.frombuffer(data, dtype.made(), count=1)[0].item()


def _encode(text: object, encoding: object) -> bytes:
    """Protocol 2 writes bytes as Latin-1 text; no other codec is looked up."""
    if not isinstance(text, str) or encoding != "latin1":
        raise RefusedPickleError(f"it encodes a {type(text).__name__} as {encoding!r}")
    return text.encode("latin1")


def _bytes(*given: object) -> bytes:
    """Protocol 2 writes empty bytes as a call without arguments."""
    if given:
        raise RefusedPickleError("it makes bytes of something")
    return b""


def _no_array(*_: object) -> NoReturn:
    raise RefusedPickleError("it calls numpy.ndarray")


_NDARRAY = _Function(_no_array)

_NAMES: dict[tuple[str, str], _Function] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Function(_Dtype),
    ("_codecs", "encode"): _Function(_encode),
    ("__builtin__", "bytes"): _Function(_bytes),
}
# numpy 2 moved its core; files of either are read.
for _core in ("numpy.core", "numpy._core"):
    _NAMES[f"{_core}.multiarray", "_reconstruct"] = _Function(_reconstruct)
    _NAMES[f"{_core}.multiarray", "scalar"] = _Function(_scalar)
    _NAMES[f"{_core}.numeric", "_frombuffer"] = _Function(_from_buffer)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> _Function:
        found = _NAMES.get((module, name))
        if found is None:
            raise RefusedPickleError(f"it names {module}.{name}")
        return found

    def persistent_load(self, pid: object) -> NoReturn:
        raise RefusedPickleError(f"it refers to an object outside itself: {pid!r}")


def load_plain(path: Path) -> object:
    """Read a pickle of plain values, written by any version of Python 3 and numpy.

    Returns:
        dict, list, tuple, str, bytes, bool, int, float, None and numpy arrays of numbers, of
        strings, or (dtype object) of strings and numbers. Arrays may be read-only.

    Raises:
        RefusedPickleError: there is anything else in it, or it is no pickle.
        OSError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            value = _PlainUnpickler(file).load()
        return _Reading().plain(value, "", 0)
    except RefusedPickleError as error:
        raise RefusedPickleError(f"{path} is refused: {error}") from None
    except (
        pickle.UnpicklingError,
        EOFError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        # What the machine of the pickle language raises on a malformed program.
        raise RefusedPickleError(f"{path} is no whole pickle: {error}") from error


class _Reading:
    """One pass over what was unpickled: makes the arrays, refuses what is not plain."""

    def __init__(self) -> None:
        # A file can refer to one list a million times; every container is gone through once.
        self._done: dict[int, object] = {}
        self._open: set[int] = set()

    def plain(self, value: object, where: str, depth: int) -> object:
        if value is None or isinstance(value, str | bytes | bool | int | float):
            return value
        if id(value) in self._done:
            return self._done[id(value)]
        if id(value) in self._open or depth > DEEPEST:
            raise RefusedPickleError(f"value{where} contains itself or is nested too deeply")
        self._open.add(id(value))
        made = self._container(value, where, depth + 1)
        self._done[id(value)] = made
        return made

    def _container(self, value: object, where: str, depth: int) -> object:
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str | int):
                    raise RefusedPickleError(f"value{where} has a {_kind(key)} for a key")
            return {k: self.plain(v, f"{where}[{k!r}]", depth) for k, v in value.items()}
        if isinstance(value, list | tuple):
            items = [self.plain(item, f"{where}[{i}]", depth) for i, item in enumerate(value)]
            return items if isinstance(value, list) else tuple(items)
        if isinstance(value, _Array):
            return _array(value, where)
        raise RefusedPickleError(f"value{where} is a {_kind(value)}")


def _kind(value: object) -> str:
    if isinstance(value, _Function | _Dtype):
        return "numpy function or type"
    return "numpy array" if isinstance(value, _Array) else type(value).__name__


def _array(stated: _Array, where: str) -> NDArray[Any]:
    shape, data = stated.shape, stated.data
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise RefusedPickleError(f"array{where} has the shape {shape!r}")
    if not isinstance(stated.dtype, _Dtype):
        raise RefusedPickleError(f"array{where} has no type")
    size = math.prod(shape)
    if stated.dtype.holds_objects:
        return _array_of_objects(data, size, where).reshape(shape)
    dtype = stated.dtype.made()
    if not isinstance(data, bytes | bytearray) or len(data) != size * dtype.itemsize:
        raise RefusedPickleError(f"array{where} does not hold {size} values of {dtype}")
    flat = np.frombuffer(data, dtype) if len(data) else np.zeros(size, dtype)
    array = flat.reshape(shape, order="F" if stated.order == "F" else "C")
    if stated.axes is not None:
        if not isinstance(stated.axes, tuple):
            raise RefusedPickleError(f"array{where} has axes {stated.axes!r}")
        array = array.transpose(stated.axes)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _array_of_objects(data: object, size: int, where: str) -> NDArray[np.object_]:
    """Make a (size,) array; numpy lists objects in C order, whatever the array's own order is."""
    if not isinstance(data, list) or len(data) != size:
        raise RefusedPickleError(f"array{where} does not hold {size} objects")
    for index, item in enumerate(data):
        if item is not None and not isinstance(item, str | bytes | bool | int | float):
            raise RefusedPickleError(f"array{where} holds a {_kind(item)} at {index}")
    array = np.empty(size, np.object_)
    array[:] = data
    return array
