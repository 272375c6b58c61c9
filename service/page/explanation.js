// What moved the score: modalities as bars, words and moments as marks of more or less colour.

import { html } from "./dom.js";
import { clock, signed } from "./words.js";

const NAMES = { text: "words", audio: "voice", video: "face" };

/** Words and moments that are named beside the marks. */
const NAMED = 4;

/** Smaller changes are not worth naming. */
const LEAST = 0.05;

const side = (change) => (change < 0 ? "minus" : "plus");

const size = ({ change }) => Math.abs(change);

const strongest = (items) => [...items].sort((a, b) => size(b) - size(a)).slice(0, NAMED);

/**
 * @param {object} explanation of /predict
 * @param {object} seen of /predict
 * @param {(seconds: number) => void} seekTo
 */
export function explanationOf({ baseline, without, shapley, words, moments, note }, seen, seekTo) {
  // The longest bar stands for the largest change, and for half a point at least.
  const most = Math.max(0.5, ...Object.values(shapley).map(Math.abs));
  const rows = Object.keys(NAMES).filter((name) => seen[name].present);
  const named = strongest(moments).filter((moment) => size(moment) >= LEAST);
  return [
    html("p", { class: "reading" }, `How far each moved the score from ${signed(baseline)}, that of a clip without content:`),
    html("ul", { class: "shares" }, rows.map((name) => share(NAMES[name], shapley[name], without[name], most))),
    html("p", { class: "words" }, marked(words)),
    named.length === 0 ? null : html("div", { class: "row" },
      html("span", { class: "muted" }, "Moments that moved it most:"),
      named.map((moment) =>
        html("button", { type: "button", class: "quiet chip", onclick: () => seekTo(moment.start_seconds) },
          `${NAMES[moment.modality]} ${clock(moment.start_seconds)} `, html("span", { class: side(moment.change) }, signed(moment.change))))),
    html("p", { class: "muted small" }, note),
  ];
}

function share(name, change, without, most) {
  const bar = html("span", { class: `bar ${side(change)}` });
  const width = (50 * Math.abs(change)) / most;
  bar.style.width = `${width}%`;
  bar.style.left = `${change < 0 ? 50 - width : 50}%`;
  return html("li", {},
    html("b", {}, name),
    html("span", { class: "track", "aria-hidden": "true" }, bar),
    html("span", { class: `value ${side(change)}` }, signed(change)),
    html("small", {}, `without ${name}: ${signed(without)}`));
}

/** The strongest words carry their number, which is the only sign of them without colours. */
function marked(words) {
  const most = Math.max(0.1, ...words.map(size));
  const named = new Set(strongest(words).filter((word) => size(word) >= LEAST));
  return words.flatMap((word) => {
    const number = named.has(word) ? html("sup", {}, signed(word.change)) : null;
    return [shaded(html("mark", { title: signed(word.change) }, word.word, number), word, most), " "];
  });
}

/** Moments of one modality, to be laid over its lane. */
export function momentMarks(moments, modality, seconds) {
  const most = Math.max(0.1, ...moments.map(size));
  return moments
    .filter((moment) => moment.modality === modality)
    .map((moment) => {
      const mark = shaded(html("span", { class: "moment", title: `${NAMES[modality]} ${signed(moment.change)}` }), moment, most);
      mark.style.left = `${(100 * moment.start_seconds) / seconds}%`;
      mark.style.width = `${(100 * (moment.end_seconds - moment.start_seconds)) / seconds}%`;
      return mark;
    });
}

function shaded(element, item, most) {
  element.classList.add(side(item.change));
  element.style.setProperty("--strength", `${Math.round((100 * size(item)) / most)}%`);
  return element;
}
