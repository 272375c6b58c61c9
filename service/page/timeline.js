// The score along a clip: as a lane over its time, and as a list of what was said.

import { html, svg } from "./dom.js";
import { clock, signed, tone } from "./words.js";

const WIDTH = 1000;
const HEIGHT = 120;

const y = (score) => HEIGHT / 2 - (score / 3) * (HEIGHT / 2 - 6);

/**
 * @param {object[]} segments of /timeline
 * @param {number} seconds length of the clip
 */
export function scoreLane(segments, seconds) {
  const x = (at) => (at / seconds) * WIDTH;
  const marks = segments.map(({ start_seconds: start, end_seconds: end, score, interval }) => {
    const place = { x: x(start), width: Math.max(2, x(end) - x(start) - 1.5) };
    return svg("g", { class: tone(score) },
      interval && svg("rect", { ...place, y: y(interval.high), height: y(interval.low) - y(interval.high), class: "range" }),
      svg("rect", { ...place, y: Math.min(y(0), y(score)), height: Math.max(2, Math.abs(y(score) - y(0))), class: "bar" }));
  });
  const line = svg("line", { x1: 0, x2: WIDTH, y1: y(0), y2: y(0), class: "zero" });
  const words = `Score of ${segments.length} segments, listed below.`;
  return html("div", { class: "lane scores" },
    html("span", { class: "name" }, "score"),
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": words }, line, marks));
}

/**
 * @param {object[]} segments of /timeline
 * @param {(seconds: number) => void} seekTo
 */
export function segmentList(segments, seekTo) {
  return html("ol", { class: "segments", tabindex: 0, "aria-label": "Score of each segment" },
    segments.map((segment) =>
      html("li", {},
        html("button", { type: "button", class: "quiet", "aria-label": `Play from ${clock(segment.start_seconds)}`, onclick: () => seekTo(segment.start_seconds) }, clock(segment.start_seconds)),
        html("span", { class: "said" }, segment.text,
          segment.warnings.map(({ message }) => html("small", {}, ` ${message}`))),
        html("span", { class: `value ${tone(segment.score)}` }, signed(segment.score),
          segment.interval && html("small", {}, `${signed(segment.interval.low, 1)} to ${signed(segment.interval.high, 1)}`)))));
}
