"""MediaPipe's face graphs, imported and started without the noise they write to stderr.

Three causes, three cures:

- MediaPipe 0.10.21 looks up ``MessageFactory.GetPrototype`` while it is imported, which protobuf 5
  removed, and prints the AttributeError. The method is lent to it for as long as the import lasts.
- Its native code logs lines about its own graphs when they start and at their first face, straight
  to file descriptor 2, and offers no setting. Around these moments the descriptor goes to memory,
  from which every line that is not one of `KNOWN_NOISE` is passed on.
- It asks protobuf for a field's ``label()`` when a graph is made, which is deprecated and, on
  Python 3.12, warned of. That one warning is ignored meanwhile.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from google.protobuf import message_factory, text_format  # type: ignore[import-untyped]
from numpy.typing import NDArray

KNOWN_NOISE: Final = (
    b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
    b"All log messages before absl::InitializeLog() is called are written to STDERR",
    b"Feedback manager requires a model with a single signature inference.",
    b"Using NORM_RECT without IMAGE_DIMENSIONS is only supported for the square ROI.",
)
"""Marks of the lines that are dropped; none says anything about the result."""


@contextmanager
def quiet() -> Iterator[None]:
    """Drop `KNOWN_NOISE` from file descriptor 2 meanwhile; all else is written at the end.

    Also protobuf's warning of ``label()``, which MediaPipe calls.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    # In memory: a worker may write nowhere, and a full disk must not stop it.
    caught_fd = os.memfd_create("stderr")
    with os.fdopen(caught_fd, "w+b") as caught, warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"label\(\) is deprecated", DeprecationWarning)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            for line in caught:
                if not any(mark in line for mark in KNOWN_NOISE):
                    os.write(2, line)


def _import() -> tuple[Any, Any, Any, Any, Any]:
    factory: Any = message_factory.MessageFactory
    missing = not hasattr(factory, "GetPrototype")
    if missing:
        factory.GetPrototype = lambda _self, descriptor: message_factory.GetMessageClass(descriptor)
    try:
        from mediapipe import python
        from mediapipe.framework import calculator_pb2
        from mediapipe.framework.formats import rect_pb2
        from mediapipe.python.solutions import face_detection, face_mesh
    finally:
        if missing:
            del factory.GetPrototype
    return face_detection, face_mesh, python, calculator_pb2, rect_pb2


face_detection, face_mesh, _mediapipe, _calculator_pb2, _rect_pb2 = _import()
"""`mediapipe.python.solutions.face_detection` and `.face_mesh`, to compare ours with."""

_DETECTION: Final = """
executor {{ type: "ApplicationThreadExecutor" }}
input_stream: "image"
output_stream: "detections"
node {{
  calculator: "{calculator}"
  input_stream: "IMAGE:image"
  output_stream: "DETECTIONS:detections"
}}
"""

_LANDMARKS: Final = """
executor { type: "ApplicationThreadExecutor" }
input_stream: "image"
input_stream: "roi"
input_side_packet: "with_attention"
output_stream: "landmarks"
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_stream: "LANDMARKS:landmarks"
}
"""


class _Graph:
    """One of MediaPipe's graphs, run in the thread that asks it.

    MediaPipe's own `SolutionBase` runs any graph, but what it does in Python for each picture, such
    as a class that it makes for the answer, adds a tenth to the landmark model's time, and the
    threads between which its graphs hand every step around another tenth.
    """

    def __init__(self, config: str, output: str, **side: Any) -> None:
        # Where the graph finds its models.
        root = Path(_mediapipe.__file__).parents[2]
        _mediapipe.resource_util.set_resource_dir(str(root))
        parsed = text_format.Parse(config, _calculator_pb2.CalculatorGraphConfig())
        self._graph = _mediapipe.CalculatorGraph(graph_config=parsed)
        self._found: list[Any] = []
        self._graph.observe_output_stream(output, lambda _, found: self._found.append(found))
        self._graph.start_run(side)
        self._pictures = 0

    def _run(self, rgb: NDArray[np.uint8], **others: Any) -> Any | None:
        """The packet that the graph answers a picture and other packets with, if it does."""
        create = _mediapipe.packet_creator
        image = create.create_image_frame(rgb, image_format=_mediapipe.ImageFormat.SRGB)
        self._found.clear()
        # Timestamps have to grow; the graphs make no other use of them.
        self._pictures += 1
        for stream, packet in {"image": image, **others}.items():
            self._graph.add_packet_to_input_stream(stream, packet.at(self._pictures))
        self._graph.wait_until_idle()
        return self._found[0] if self._found else None

    def close(self) -> None:
        """End the graph."""
        self._graph.close()


class DetectionGraph(_Graph):
    """One of MediaPipe's face detectors.

    Faces score at least what its models come with: .6 at a distance, .5 close up.

    Args:
        far: the model for faces at a distance; else that for those that fill the picture.
    """

    def __init__(self, *, far: bool) -> None:
        calculator = f"FaceDetection{'Full' if far else 'Short'}RangeCpu"
        super().__init__(_DETECTION.format(calculator=calculator), "detections")

    def detections(self, rgb: NDArray[np.uint8]) -> list[Any]:
        """The faces in a picture, as messages of MediaPipe's Detection.

        Args:
            rgb: (height, width, 3) uint8.

        Raises:
            RuntimeError: the graph failed.
        """
        found = self._run(rgb)
        return [] if found is None else list(_mediapipe.packet_getter.get_proto_list(found))


class LandmarkGraph(_Graph):
    """MediaPipe's face landmark model with irises, on a region that its caller chooses."""

    def __init__(self) -> None:
        with_attention = _mediapipe.packet_creator.create_bool(True)
        super().__init__(_LANDMARKS, "landmarks", with_attention=with_attention)

    def landmarks(
        self, rgb: NDArray[np.uint8], x: float, y: float, side: float, angle: float
    ) -> Any | None:
        """The face in a region.

        Args:
            rgb: (height, width, 3) uint8.
            x: of the centre of the region, a square (px).
            y: of its centre (px).
            side: of the region (px).
            angle: by which it is turned clockwise (rad).

        Returns:
            A NormalizedLandmarkList: 478 landmarks in shares of the picture's width and height;
            None where the model sees no face in the region.

        Raises:
            RuntimeError: the graph failed.
        """
        height, width = rgb.shape[:2]
        region = _rect_pb2.NormalizedRect(
            x_center=x / width,
            y_center=y / height,
            width=side / width,
            height=side / height,
            rotation=angle,
        )
        found = self._run(rgb, roi=_mediapipe.packet_creator.create_proto(region))
        return None if found is None else _mediapipe.packet_getter.get_proto(found)
