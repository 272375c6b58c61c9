"""A timeline as a picture: every segment's score and interval over the time of the clip."""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from service.schemas import LABELS, SCALE, Polarity, TimelineResponse

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: dict[Polarity, str] = {"negative": "#b5482f", "neutral": "#767676", "positive": "#1c7a6b"}
"""Told apart also by the eye that sees no red or green; contrast with white at least 4.5."""

SIZE_INCHES = (12.0, 4.8)

DOTS_PER_INCH = 100

_THREAD = ThreadPoolExecutor(1, thread_name_prefix="picture")
"""One, because matplotlib is not made for several at once."""


async def picture_of(answer: TimelineResponse, media_type: str) -> bytes:
    """Draw a timeline, off the event loop.

    Args:
        answer: the timeline.
        media_type: ``image/svg+xml`` or ``image/png``.
    """
    form = "png" if media_type == "image/png" else "svg"
    return await asyncio.get_running_loop().run_in_executor(_THREAD, draw, answer, form)


def draw(answer: TimelineResponse, form: str) -> bytes:
    """A picture of a timeline, 1200 x 480 pixels: bars for intervals, lines for scores.

    Args:
        answer: the timeline.
        form: ``svg`` or ``png``.
    """
    # Imported with the first picture: it takes memory that who asks for none does not need.
    from matplotlib.figure import Figure

    overall = answer.overall
    title = (
        f"Sentiment of {overall.segments} segments; weighted mean {overall.score:+.2f}, "
        f"{overall.label}"
    )
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    _draw_segments(axes, answer)
    axes.axhline(0, color="#444444", linewidth=0.8)
    axes.axhline(overall.score, color="#444444", linewidth=1.2, linestyle="--")
    axes.set_title(title, loc="left")
    axes.set_xlim(0, max(1.0, answer.segments[-1].end_seconds))
    axes.set_ylim(-SCALE - 0.1, SCALE + 0.1)
    ticks = range(-int(SCALE), int(SCALE) + 1)
    axes.set_yticks(
        ticks,
        [
            f"{label}  {n:+d}" if n else f"{label}  0"
            for label, n in zip(LABELS, ticks, strict=True)
        ],
    )
    axes.xaxis.set_major_formatter(lambda seconds, _: _clock(seconds))
    axes.set_xlabel("time in the clip; shaded: 90 % interval; dashed: weighted mean")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    target = io.BytesIO()
    figure.savefig(target, format=form, metadata={"Title": title} | _undated(form))
    return target.getvalue()


def _draw_segments(axes: Axes, answer: TimelineResponse) -> None:
    for polarity, colour in COLOURS.items():
        chosen = [segment for segment in answer.segments if segment.polarity == polarity]
        axes.hlines(
            [segment.score for segment in chosen],
            [segment.start_seconds for segment in chosen],
            [segment.end_seconds for segment in chosen],
            colors=colour,
            linewidth=3,
        )
        sure = [(segment, segment.interval) for segment in chosen if segment.interval is not None]
        axes.bar(
            [segment.start_seconds for segment, _ in sure],
            [interval.high - interval.low for _, interval in sure],
            [segment.end_seconds - segment.start_seconds for segment, _ in sure],
            [interval.low for _, interval in sure],
            align="edge",
            color=colour,
            alpha=0.18,
            linewidth=0,
        )


def _undated(form: str) -> dict[str, None]:
    """Metadata that matplotlib would fill with the time and its own version."""
    return {"Date": None} if form == "svg" else {"Software": None}


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0.0, seconds), 60)
    return f"{minutes:.0f}:{rest:04.1f}" if rest % 1 else f"{minutes:.0f}:{rest:02.0f}"
