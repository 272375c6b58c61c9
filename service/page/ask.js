// Which requests answer what was filled in.

import { curlCommand } from "./curl.js";
import { runJob } from "./job.js";
import { Problem, send } from "./send.js";
import { captionsOf, transcriptPart } from "./transcript.js";
import { clock, size } from "./words.js";

/** Further fields of /predict. */
const FIELDS = { explain: "true", tracks: "true" };

/**
 * @typedef {object} Asked
 * @property {File} clip
 * @property {number} seconds length of the clip, NaN where the browser cannot tell
 * @property {string} transcript
 * @property {string} key
 */

/** A clip too long for one score is scored along its captions. */
const isLong = (asked, limits) => asked.seconds > limits.max_clip_seconds + 0.5;

/**
 * What can be told before anything is sent.
 * @param {Asked} asked
 * @param {?object} info of /info
 * @returns {?Problem}
 */
export function whatIsMissing(asked, info) {
  const problem = (param, detail) => new Problem({ title: "Not yet", code: "incomplete", detail, param });
  const { clip, seconds, transcript } = asked;
  if (!clip) return problem("video", "Choose or record a clip first.");
  if (!transcript.trim()) return problem("transcript", "Write down the words that are spoken in the clip.");
  if (!info) return null;
  const { limits } = info;
  const long = isLong(asked, limits);
  const most = long ? limits.max_timeline_upload_bytes : limits.max_upload_bytes;
  if (long && !captionsOf(transcript).length) {
    return problem("transcript", `The clip lasts ${clock(seconds)}. Beyond ${limits.max_clip_seconds} s it is scored along its captions: load a WebVTT, SRT or JSON file with times.`);
  }
  if (long && seconds > limits.max_timeline_seconds + 0.5) {
    return problem("video", `The clip lasts ${clock(seconds)}; this service takes ${clock(limits.max_timeline_seconds)} at most.`);
  }
  if (clip.size > most) return problem("video", `The clip has ${size(clip.size)}; this service takes ${size(most)} at most.`);
  if (info.needs_key && !asked.key) return problem("Authorization", "This service asks for an API key.");
  return null;
}

/**
 * Ask for the score of a clip; with captions also along its time, and of a long clip only so.
 * @param {Asked} asked
 * @param {object} uses
 * @param {?object} uses.info of /info
 * @param {AbortSignal} uses.signal
 * @param {(share: number) => void} uses.onUpload
 * @param {(route: string, share: ?number) => void} uses.onWork when all is sent, and of long work how much is done
 * @returns {Promise<{answer: ?object, timeline: ?object, untimed: ?Problem, curl: string}>}
 *   `untimed`: why there is no timeline although there are captions
 */
export async function ask(asked, { info, signal, onUpload, onWork }) {
  const { key } = asked;
  const sending = (route) => ({
    key,
    signal,
    onUpload: (share) => (share < 1 ? onUpload(share) : onWork(route, null)),
  });
  const post = (route) => send(route, formOf(asked, route), sending(route));
  const found = { answer: null, timeline: null, untimed: null };
  const long = Boolean(info) && isLong(asked, info.limits);
  if (!long) found.answer = await post("predict");
  if (long) {
    const uses = { ...sending("timeline"), onProgress: (share) => onWork("timeline", share) };
    found.timeline = await runJob(formOf(asked, "timeline", { kind: "timeline" }), uses);
  } else if (captionsOf(asked.transcript).length) {
    try {
      found.timeline = await post("timeline");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      found.untimed = error;
    }
  }
  const route = long ? "timeline" : "predict";
  const curl = curlCommand({
    url: new URL(route, location.href).href,
    clip: asked.clip.name,
    transcript: transcriptPart(asked.transcript, route),
    fields: long ? {} : FIELDS,
    needsKey: Boolean(info?.needs_key),
  });
  return { ...found, curl };
}

function formOf({ clip, transcript }, route, fields = route === "predict" ? FIELDS : {}) {
  const form = new FormData();
  const { words, file } = transcriptPart(transcript, route);
  if (file) form.append("transcript", new Blob([transcript], { type: "text/plain" }), file);
  else form.append("transcript", words);
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("video", clip);
  return form;
}
