// A score on its scale, with its interval; and a gate as a bar of two parts.

import { html, svg } from "./dom.js";
import { percent, signed, tone } from "./words.js";

const EDGE = 5; // percent of the width on either side
const AXIS = 20; // pixels from above

const ENDS = [
  [-3, "very negative", "start"],
  [0, "neutral", "middle"],
  [3, "very positive", "end"],
];

// In percent, so that the scale takes any width and its letters keep their size.
const x = (score) => EDGE + ((score + 3) / 6) * (100 - 2 * EDGE);
const at = (score) => `${x(score)}%`;

/** What the picture says, in words. */
export function scoreInWords({ score, label, interval }) {
  const range = interval && `; ${percent(interval.coverage)} interval ${signed(interval.low)} to ${signed(interval.high)}`;
  return `Score ${signed(score)} of −3 to +3, ${label}${range ?? ""}.`;
}

/** @param {{score: number, label: string, interval: ?{low: number, high: number, coverage: number}}} answer */
export function scale(answer) {
  const { score, interval } = answer;
  const ticks = [-3, -2, -1, 0, 1, 2, 3].flatMap((value) => [
    svg("line", { x1: at(value), x2: at(value), y1: AXIS - 5, y2: AXIS + 5, class: "tick" }),
    svg("text", { x: at(value), y: AXIS + 32, class: "number", "text-anchor": "middle" }, signed(value, 0)),
  ]);
  const ends = ENDS.map(([value, text, anchor]) =>
    svg("text", { x: anchor === "start" ? 0 : anchor === "end" ? "100%" : at(value), y: AXIS + 52, "text-anchor": anchor }, text),
  );
  const band =
    interval &&
    svg("rect", { x: at(interval.low), width: `${x(interval.high) - x(interval.low)}%`, y: AXIS - 13, height: 26, rx: 13, class: "band" });
  return svg(
    "svg",
    { class: `scale ${tone(score)}`, role: "img", "aria-label": scoreInWords(answer) },
    svg("line", { x1: at(-3), x2: at(3), y1: AXIS, y2: AXIS, class: "rail" }),
    ticks,
    band,
    ends,
    svg("circle", { cx: at(score), cy: AXIS, r: 9, class: "mark" }),
  );
}

/** @param {{global: number, local: number}} gate */
export function gateBar(gate) {
  const share = (name) => html("span", {}, html("b", {}, percent(gate[name])), ` ${name}`);
  const part = (name) => {
    const element = html("div", { class: `part ${name}` });
    element.style.width = `${100 * gate[name]}%`;
    return element;
  };
  return html(
    "div",
    { class: "gate", role: "img", "aria-label": `Global path ${percent(gate.global)}, local path ${percent(gate.local)}.` },
    // Above the bar, as a small part has no room for its own.
    html("div", { class: "weights" }, share("global"), share("local")),
    html("div", { class: "parts" }, part("global"), part("local")),
  );
}
