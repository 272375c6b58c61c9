// The answers, for people.

import { ADVICE } from "./advice.js";
import { copyButton, html } from "./dom.js";
import { explanationOf, momentMarks } from "./explanation.js";
import { player } from "./player.js";
import { gateBar, scale } from "./scale.js";
import { scoreLane, segmentList } from "./timeline.js";
import { trackLanes } from "./tracks.js";
import { percent, signed, tone } from "./words.js";

/**
 * @typedef {object} Asked
 * @property {string} url where the browser has the clip
 * @property {number} seconds length of the clip, NaN where the browser cannot tell
 * @property {object[]} captions of the transcript, unscored
 * @property {string} curl the same as a command
 * @property {?Error} untimed why there is no timeline although there are captions
 */

/**
 * One clip, scored as a whole; with captions also along its time.
 * @param {object} answer of /predict
 * @param {?object} timeline of /timeline
 * @param {Asked} asked
 */
export function clipResult(answer, timeline, asked) {
  const { seen } = answer;
  const { explanation, tracks } = answer;
  const seconds = Math.max(seen.audio.seconds, seen.video.frames / 10, 0.1);
  const marks = (modality) => momentMarks(explanation.moments, modality, seconds);
  const { element, seekTo } = along(timeline?.segments ?? [], seconds, trackLanes(tracks, seconds, marks), seen.video.frames > 0, asked);
  return [
    html("div", { class: "verdict" }, hero(answer), scale(answer), html("p", { class: "reading" }, intervalInWords(answer.interval))),
    warningsOf([...answer.warnings, ...(timeline?.warnings ?? [])]),
    element,
    block("What moved the score", explanationOf(explanation, seen, seekTo)),
    block("What it rests on", seenOf(seen)),
    block("Balance of the two paths", gateBar(answer.gate),
      html("p", { class: "reading" }, "The global path sums the whole clip up; the local path compares voice and face with the words moment by moment. The gate says how the model weighed them, not which of words, voice and face decided.")),
    ...forPrograms(timeline ? { predict: answer, timeline } : answer, asked),
    credit(answer),
  ];
}

/**
 * A long clip, scored along its captions.
 * @param {object} answer of /timeline
 * @param {Asked} asked
 */
export function timelineResult(answer, asked) {
  const { overall, segments } = answer;
  const pictures = segments.some(({ seen }) => seen.video.frames > 0);
  return [
    html("div", { class: "verdict" }, hero(overall), scale({ ...overall, interval: null }),
      html("p", { class: "reading" }, `The ${overall.formed_by}: ${overall.segments} of them, from ${signed(overall.lowest)} to ${signed(overall.highest)}.`)),
    warningsOf(answer.warnings),
    along(segments, Math.max(segments.at(-1).end_seconds, asked.seconds || 0), [], pictures, asked).element,
    ...forPrograms(answer, asked),
    credit(answer),
  ];
}

const hero = ({ score, label }) =>
  html("p", { class: "hero" }, html("span", { class: `score ${tone(score)}` }, signed(score)), html("span", { class: "label" }, label));

function intervalInWords(interval) {
  if (!interval) return "The served weights were not calibrated: how far the score may be off is not known.";
  return `People would likely say between ${signed(interval.low)} and ${signed(interval.high)}: such a range held for ${percent(interval.coverage)} of the clips it was calibrated on.`;
}

function along(segments, seconds, tracks, pictures, { url, captions, untimed }) {
  const scored = segments.length > 0;
  const lanes = scored ? [scoreLane(segments, seconds), ...tracks] : tracks;
  const { element, seekTo } = player({ url, pictures, seconds, captions: scored ? segments : captions, lanes });
  return {
    element: block("Along the clip", element,
      scored ? segmentList(segments, seekTo) : null,
      untimed && html("p", { class: "reading" }, `The captions were not scored one by one: ${untimed.message}`)),
    seekTo,
  };
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

function forPrograms(answer, { curl }) {
  const text = JSON.stringify(answer, null, 2);
  const fold = (title, what, content, id) =>
    html("details", {}, html("summary", {}, title), html("div", { class: "code" }, html("pre", { tabindex: 0, id }, content), copyButton(content, what)));
  return [fold("The same with curl", "the command", curl, "curl"), fold("The raw answer", "the answer", text, "raw")];
}

function credit({ model, timings_ms: times, request_id: id }) {
  return html("p", { class: "muted small" }, `${model.name} ${model.version}, ${(times.total / 1000).toFixed(1)} s, request ${id}`);
}

function block(title, ...content) {
  return html("section", { class: "block" }, html("h3", {}, title), content);
}
