"""Parts of clips, cut out with PyAV and encoded anew without loss."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame


def cut(clip: bytes, start: float, end: float) -> bytes:
    """What lies between two times (s) as a clip of its own: Matroska, FFV1 and PCM."""
    target = io.BytesIO()
    with (
        av.open(io.BytesIO(clip), "r") as source,
        av.open(target, "w", format="matroska") as output,
    ):
        video, sound = source.streams.video[0], source.streams.audio[0]
        pictures = output.add_stream("ffv1", rate=25)
        pictures.width, pictures.height = video.width, video.height
        pictures.pix_fmt = "yuv420p"
        pictures.codec_context.time_base = Fraction(1, 1000)
        rate = sound.rate
        voice = output.add_stream("pcm_f32le", rate=rate, layout="mono")
        samples: list[np.ndarray] = []
        for frame in source.decode(video, sound):
            if isinstance(frame, VideoFrame) and start <= (frame.time or 0.0) < end:
                frame.pts = round(1000 * ((frame.time or 0.0) - start))
                frame.time_base = Fraction(1, 1000)
                output.mux(pictures.encode(frame))
            elif isinstance(frame, AudioFrame):
                samples.append(frame.to_ndarray()[0])
        output.mux(pictures.encode(None))
        whole = np.concatenate(samples)[round(start * rate) : round(end * rate)]
        block = AudioFrame.from_ndarray(whole[None].astype(np.float32), format="flt", layout="mono")
        block.sample_rate, block.pts = rate, 0
        output.mux(voice.encode(block))
        output.mux(voice.encode(None))
    return target.getvalue()
