// What was measured along the clip, as lanes below it: the face with its mouth, and the level of sound.

import { html, svg } from "./dom.js";
import { percent } from "./words.js";

const HIGH = 100;

const QUIETEST_DBFS = -60;

/** Height of a closed mouth, so that it is seen that there is a face. */
const CLOSED = 0.15;

const WIDEST_MM = 10;

/**
 * @param {object} tracks of /predict
 * @param {number} seconds length of the clip
 * @param {(modality: string) => Element[]} marks what to lay over a modality's lane
 * @returns {Element[]}
 */
export function trackLanes(tracks, seconds, marks) {
  const { steps_per_second: rate, face, mouth_opening_mm: mouth, sound_dbfs: sound } = tracks;
  const lanes = [];
  if (face) {
    const widest = Math.max(WIDEST_MM, ...mouth.filter((mm) => mm !== null));
    const heights = face.map((seen, i) => (seen ? CLOSED + ((1 - CLOSED) * (mouth[i] ?? 0)) / widest : null));
    const share = face.filter(Boolean).length / Math.max(1, face.length);
    lanes.push(lane("face, mouth", "face", heights, rate, seconds, marks("video"), `Opening of the mouth; a face is seen ${percent(share)} of the time.`));
  }
  if (sound) {
    const heights = sound.map((level) => Math.min(1, Math.max(0, 1 - level / QUIETEST_DBFS)));
    const loudest = Math.round(Math.max(...sound));
    lanes.push(lane("sound", "sound", heights, rate, seconds, marks("audio"), `Level of the sound, at most ${loudest} dBFS.`));
  }
  return lanes;
}

/** One lane: an area for every run of steps without a gap (null). */
function lane(name, kind, heights, rate, seconds, marks, words) {
  const y = (height) => (HIGH * (1 - height)).toFixed(1);
  let path = "";
  heights.forEach((height, i) => {
    if (height === null) return;
    path += i > 0 && heights[i - 1] !== null ? `L${i + 0.5} ${y(height)}` : `M${i} ${HIGH}V${y(height)}`;
    if (i + 1 === heights.length || heights[i + 1] === null) path += `H${i + 1}V${HIGH}Z`;
  });
  return html("div", { class: `lane ${kind}` },
    html("span", { class: "name" }, name),
    svg("svg", { viewBox: `0 0 ${Math.max(1, seconds * rate)} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": words }, svg("path", { d: path })),
    marks);
}
