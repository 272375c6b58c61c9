"""Steps of the model that do not need one another, in turn or side by side.

The two paths meet at the gate and nowhere before. With a thread each they share nothing that one
would wait for, as threads inside an operation wait for one another at every operation.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar

import torch

T = TypeVar("T")

_LIBC = ctypes.CDLL(None)


class Begin(Protocol):
    """Begins a step, and gives the function that returns its result."""

    def __call__(self, step: Callable[[], T]) -> Callable[[], T]:
        """Begin a step."""
        ...


def when_asked(step: Callable[[], T]) -> Callable[[], T]:
    """The step itself: it is done in turn, when its result is asked for."""
    return step


class Beside:
    """Does steps in one thread of its own, beside the caller's."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model-beside")
        self._id = self._thread.submit(threading.get_native_id).result()

    def __call__(self, step: Callable[[], T]) -> Callable[[], T]:
        """Begin a step, with the gradient's and autocast's modes of the caller's thread."""
        inference = torch.is_inference_mode_enabled()
        gradient = torch.is_grad_enabled()
        reduced, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

        def run() -> T:
            with (
                torch.inference_mode(inference),
                torch.set_grad_enabled(gradient),
                torch.autocast("cpu", dtype=dtype, enabled=reduced),
            ):
                return step()

        return self._thread.submit(run).result

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Keep the caller on the core where it is, and the other thread off that core, meanwhile.

        Woken from sleep, and at each hand-over of Python's lock, the kernel would put the one on
        the core of the other, where they take turns for longer than a forward takes.
        """
        cores, here = os.sched_getaffinity(0), _LIBC.sched_getcpu()
        # Where the kernel does not let us choose, it chooses.
        with suppress(OSError):
            os.sched_setaffinity(self._id, cores - {here} or cores)
            os.sched_setaffinity(0, {here})
        try:
            yield
        finally:
            with suppress(OSError):
                os.sched_setaffinity(0, cores)


def results(steps: Sequence[Callable[[], T]], begin: Begin) -> list[T]:
    """Do the first step here and begin the others before it; results in the order of the steps."""
    first, *others = steps
    begun = [begin(step) for step in others]
    return [first(), *(result() for result in begun)]
