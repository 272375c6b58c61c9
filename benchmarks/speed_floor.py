"""The least work that a request can be: decode, a mesh on each sampled picture, one model forward.

What is left out is all that makes an answer of it: sound, action units, landmarks, words, checks,
processes and HTTP. The work is spread over the cores as far as it can be: FFmpeg decodes with as
many threads as there are cores, meshes are made in as many threads, and decoding goes on meanwhile.
"""

from __future__ import annotations

import io
import math
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import av
import numpy as np
import torch
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from model.checkpoint import DEFAULT_CHECKPOINT
from model.inputs import Sample
from model.predictor import Predictor
from preprocessing.features import default_tokenizer
from preprocessing.mediapipe_quietly import face_mesh, quiet
from preprocessing.pictures import LONGEST_SIDE
from preprocessing.schema import PICTURES_PER_SECOND, feature_schema

Picture = NDArray[np.uint8]


class Floor:
    """Threads and graphs, warm, for one clip at a time.

    Args:
        cores: threads for meshes, and for FFmpeg.
    """

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._pool = ThreadPoolExecutor(cores)
        self._free: SimpleQueue[Callable[[Picture], object]] = SimpleQueue()
        for _ in range(cores):
            self._free.put(_mesher())
        schema = feature_schema(default_tokenizer().sha256)
        # With a second core the model's paths have a thread each.
        torch.set_num_threads(1)
        self._predictor = Predictor.load(DEFAULT_CHECKPOINT, schema=schema, device="cpu")
        self._schema = schema

    def milliseconds(self, clip: bytes, words: str) -> float:
        """Wall time of one clip (ms)."""
        started = time.perf_counter()
        steps = self._watch(clip)
        ids = default_tokenizer().encode(words).input_ids
        rows = [
            np.zeros((steps, len(columns)), np.float32)
            for columns in (self._schema.audio_columns, self._schema.video_columns)
        ]
        self._predictor.predict([Sample(ids, *rows)])
        return 1000 * (time.perf_counter() - started)

    def _watch(self, clip: bytes) -> int:
        """Mesh every sampled picture; returns their number."""
        begun: deque[Future[object]] = deque()
        count = 0
        for picture in _sampled(clip, self._cores):
            count += 1
            begun.append(self._pool.submit(self._mesh, picture))
            while len(begun) > 2 * self._cores:
                begun.popleft().result()
        for meshing in begun:
            meshing.result()
        return count

    def _mesh(self, picture: Picture) -> object:
        mesh = self._free.get()
        try:
            return mesh(picture)
        finally:
            self._free.put(mesh)


def _mesher() -> Callable[[Picture], object]:
    """MediaPipe's FaceMesh for stills: its near-range detector, then the mesh."""
    with quiet():
        graph: Any = face_mesh.FaceMesh(
            static_image_mode=True, max_num_faces=1, refine_landmarks=True
        )
        graph.process(np.zeros((64, 64, 3), np.uint8))

    def mesh(picture: Picture) -> object:
        picture.flags.writeable = False
        return graph.process(picture).multi_face_landmarks

    return mesh


def _sampled(clip: bytes, threads: int) -> Iterator[Picture]:
    """RGB pictures at the features' rate, by the rule of `preprocessing.decode`."""
    with av.open(io.BytesIO(clip), "r") as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        tick = 0
        for frame in container.decode(stream):
            if isinstance(frame, VideoFrame) and frame.time * PICTURES_PER_SECOND + 1e-6 >= tick:
                tick = math.floor(frame.time * PICTURES_PER_SECOND + 1e-6) + 1
                scale = max(1.0, max(frame.width, frame.height) / LONGEST_SIDE)
                width, height = round(frame.width / scale), round(frame.height / scale)
                rgb = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
                yield np.asarray(rgb, np.uint8)


def floors_a_second(clip: Path, words: str, *, cores: int, count: int) -> float:
    """How many clips a second the least work allows: a process of one thread for each core.

    Args:
        clip: path of the file.
        words: what is spoken.
        cores: number of processes.
        count: clips that each of them does.
    """
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(cores + 1)
    processes = [
        context.Process(target=_one_after_another, args=(core, clip, words, count, together))
        for core in sorted(os.sched_getaffinity(0))[:cores]
    ]
    for process in processes:
        process.start()
    together.wait()
    started = time.perf_counter()
    together.wait()
    seconds = time.perf_counter() - started
    for process in processes:
        process.join()
    return cores * count / seconds


def _one_after_another(core: int, clip: Path, words: str, count: int, together: Barrier) -> None:
    os.sched_setaffinity(0, {core})
    floor, content = Floor(1), clip.read_bytes()
    floor.milliseconds(content, words)
    together.wait()
    for _ in range(count):
        floor.milliseconds(content, words)
    together.wait()
