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
from typing import Any, Final

from google.protobuf import message_factory, text_format  # type: ignore[import-untyped]

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
        from mediapipe.framework import calculator_pb2
        from mediapipe.framework.formats import rect_pb2
        from mediapipe.python.solution_base import SolutionBase
        from mediapipe.python.solutions import face_detection, face_mesh
    finally:
        if missing:
            del factory.GetPrototype
    return face_detection, face_mesh, SolutionBase, calculator_pb2, rect_pb2


face_detection, face_mesh, _SolutionBase, _calculator_pb2, _rect_pb2 = _import()
"""`mediapipe.python.solutions.face_detection`, and `.face_mesh` for benchmarks."""

_LANDMARKS: Final = """
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


def landmark_graph() -> Any:
    """MediaPipe's face landmark model with irises, on a region that its caller chooses.

    ``process({"image": rgb, "roi": rectangle(...)}).landmarks`` are 478 landmarks in shares of the
    picture's width and height, or None where the model sees no face in the region.
    """
    return _SolutionBase(
        graph_config=text_format.Parse(_LANDMARKS, _calculator_pb2.CalculatorGraphConfig()),
        side_inputs={"with_attention": True},
        outputs=["landmarks"],
    )


def rectangle(x: float, y: float, width: float, height: float, angle: float) -> Any:
    """MediaPipe's NormalizedRect: centre and size in shares of the picture, angle in rad."""
    return _rect_pb2.NormalizedRect(
        x_center=x, y_center=y, width=width, height=height, rotation=angle
    )
