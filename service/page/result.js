// The answer, for people.

import { ADVICE } from "./advice.js";
import { copyButton, html } from "./dom.js";
import { player } from "./player.js";
import { gateBar, scale } from "./scale.js";
import { percent, signed, tone } from "./words.js";

/**
 * @param {object} answer of /predict
 * @param {{url: string, captions: object[], curl: string}} asked
 * @returns {Node[]}
 */
export function resultOf(answer, { url, captions, curl }) {
  const { seen, gate, interval } = answer;
  const seconds = Math.max(seen.audio.seconds, seen.video.frames / 10, 0.1);
  return [
    html("p", { class: "hero" },
      html("span", { class: `score ${tone(answer.score)}` }, signed(answer.score)),
      html("span", { class: "label" }, answer.label)),
    scale(answer),
    html("p", { class: "reading" }, intervalInWords(interval)),
    warningsOf(answer.warnings),
    block("Along the clip", player({ url, seconds, captions, lanes: [] }).element),
    block("What it rests on", seenOf(seen)),
    block("Balance of the two paths", gateBar(gate),
      html("p", { class: "reading" }, "The global path sums the whole clip up; the local path compares voice and face with the words moment by moment. The gate says how the model weighed them, not which of words, voice and face decided.")),
    html("details", {}, html("summary", {}, "The same with curl"), html("div", { class: "code" }, html("pre", { tabindex: 0 }, curl), copyButton(curl, "the command"))),
    rawOf(answer),
    html("p", { class: "muted small" },
      `${answer.model.name} ${answer.model.version}, ${(answer.timings_ms.total / 1000).toFixed(1)} s, request ${answer.request_id}`),
  ];
}

function intervalInWords(interval) {
  if (!interval) return "The served weights were not calibrated: how far the score may be off is not known.";
  return `In ${percent(interval.coverage)} of clips like those it was measured on, the score that people give lies between ${signed(interval.low)} and ${signed(interval.high)}.`;
}

function warningsOf(warnings) {
  if (!warnings.length) return null;
  return html("ul", { class: "warnings", "aria-label": "Warnings" },
    warnings.map(({ code, message }) =>
      html("li", {}, html("b", {}, message), ADVICE[code] ? ` ${ADVICE[code]}` : null, " ", html("code", {}, code))));
}

function seenOf({ text, audio, video }) {
  const card = (name, present, ...facts) =>
    html("li", { class: present ? "" : "absent" }, html("b", {}, name), html("span", {}, present ? facts.join(", ") : "not there, not considered"));
  return html("ul", { class: "seen" },
    card("Words", text.present, `${text.tokens} tokens`, text.truncated ? "the beginning only" : "all of them"),
    card("Voice", audio.present, `${audio.seconds.toFixed(1)} s`, audio.level_dbfs === null ? "level unknown" : `${signed(audio.level_dbfs, 0)} dBFS`),
    card("Face", video.present, `in ${percent(video.face_share)} of ${video.frames} pictures`));
}

function rawOf(answer) {
  const text = JSON.stringify(answer, null, 2);
  return html("details", {}, html("summary", {}, "The raw answer"),
    html("div", { class: "code" }, html("pre", { tabindex: 0, id: "raw" }, text), copyButton(text, "the answer")));
}

function block(title, ...content) {
  return html("section", { class: "block" }, html("h3", {}, title), content);
}
