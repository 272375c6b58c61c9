// The page: what was chosen, the request, the answer or the problem.

import { curlCommand } from "./curl.js";
import { announce, byId, html } from "./dom.js";
import { setUpRecorder } from "./record.js";
import { resultOf } from "./result.js";
import { scoreInWords } from "./scale.js";
import { Problem, send } from "./send.js";
import { addTranscript, captionsOf, kindOf } from "./transcript.js";
import { percent, size } from "./words.js";

const FIELDS = {};
const SLOW_POLL = 2000;

let clip = null;
let clipUrl = null;
let info = null;
let running = null;
let countdown = 0;

const FIELD_OF = { video: "clip", transcript: "transcript", Authorization: "key" };

function choose(file) {
  clip = file;
  if (clipUrl) URL.revokeObjectURL(clipUrl);
  clipUrl = URL.createObjectURL(file);
  byId("clip-name").textContent = file.name;
  byId("clip-or").textContent = `(${size(file.size)})`;
  byId("drop").classList.add("chosen");
  byId("preview").src = clipUrl;
  byId("preview").hidden = false;
  clearProblem();
  announce(`Chosen: ${file.name}, ${size(file.size)}`);
}

async function loadTranscript(file) {
  byId("transcript").value = await file.text();
  describeTranscript();
  clearProblem();
  announce(`Loaded: ${file.name}`);
}

function describeTranscript() {
  const text = byId("transcript").value;
  const captions = captionsOf(text).length;
  byId("transcript-hint").textContent =
    kindOf(text) === ".txt"
      ? "Plain words, or captions with times (WebVTT, SRT)."
      : `${kindOf(text) === ".vtt" ? "WebVTT" : "SRT"} with ${captions} ${captions === 1 ? "caption" : "captions"}.`;
}

const isTranscript = (file) => /\.(txt|vtt|srt)$/i.test(file.name) || file.type.startsWith("text/");

function setUpDrop() {
  const drop = byId("drop");
  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  // Anywhere on the page: a file dropped beside the field would otherwise replace the page.
  window.addEventListener("dragover", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  window.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  window.addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    drop.classList.remove("over");
    for (const file of event.dataTransfer.files) isTranscript(file) ? loadTranscript(file) : choose(file);
  });
}

async function submit(event) {
  event.preventDefault();
  if (running) return;
  clearProblem();
  const missing = whatIsMissing();
  if (missing) return showProblem(missing);
  const transcript = byId("transcript").value;
  const form = new FormData();
  addTranscript(form, transcript);
  for (const [name, value] of Object.entries(FIELDS)) form.append(name, value);
  form.append("video", clip);
  running = new AbortController();
  busy(true);
  try {
    const answer = await send("predict", form, { key: byId("key").value.trim(), signal: running.signal, onUpload });
    showResult(answer, transcript);
  } catch (error) {
    if (error instanceof Problem) showProblem(error);
    else if (error.name === "AbortError") announce("Cancelled");
    else throw error;
  } finally {
    running = null;
    busy(false);
  }
}

function whatIsMissing() {
  const problem = (param, detail) => new Problem({ title: "Not yet", code: "incomplete", detail, param });
  if (!clip) return problem("video", "Choose or record a clip first.");
  const most = info?.limits.max_upload_bytes;
  if (most && clip.size > most) return problem("video", `The clip has ${size(clip.size)}; this service takes ${size(most)} at most.`);
  if (!byId("transcript").value.trim()) return problem("transcript", "Write down the words that are spoken in the clip.");
  if (info?.needs_key && !byId("key").value.trim()) return problem("Authorization", "This service asks for an API key.");
  return null;
}

function busy(yes) {
  byId("submit").setAttribute("aria-disabled", yes);
  byId("cancel").hidden = !yes;
  byId("progress").hidden = !yes;
  byId("result").setAttribute("aria-busy", yes);
  if (yes) onUpload(0);
}

function onUpload(share) {
  const bar = byId("bar");
  if (share < 1) bar.value = share;
  else bar.removeAttribute("value");
  byId("progress-text").textContent = share < 1 ? `Uploading: ${percent(share)}` : "Listening and looking …";
  if (share === 1) announce("Uploaded. The clip is being analysed.");
}

function showResult(answer, transcript) {
  const curl = curlCommand({
    url: new URL("predict", location.href).href,
    clip: clip.name,
    transcript,
    fields: FIELDS,
    needsKey: Boolean(info?.needs_key),
  });
  byId("result-body").replaceChildren(
    ...resultOf(answer, { url: clipUrl, captions: captionsOf(transcript), curl }).filter(Boolean),
  );
  byId("preview").pause();
  byId("preview").hidden = true;
  byId("result-title").focus({ preventScroll: true });
  byId("result").scrollIntoView({ block: "start" });
  announce(`${scoreInWords(answer)} ${answer.warnings.length} warnings.`);
}

function showProblem(problem) {
  const field = FIELD_OF[problem.param];
  if (problem.param === "Authorization") byId("key-field").hidden = false;
  const box = byId("problem");
  const again = html("button", { type: "submit", class: "quiet" }, "Try again");
  box.replaceChildren(
    html("b", {}, problem.title),
    html("p", {}, problem.message),
    problem.retryAfter === null ? "" : again,
    problem.requestId ? html("p", { class: "muted small" }, `${problem.code}, request ${problem.requestId}`) : "",
  );
  box.hidden = false;
  if (problem.retryAfter !== null) wait(again, problem.retryAfter);
  if (field) {
    byId(field).setAttribute("aria-invalid", "true");
    byId(`${field}-error`).textContent = problem.message;
    byId(`${field}-error`).hidden = false;
    byId(field).focus();
  } else box.focus();
}

/** Count the seconds down that the service asked to wait. */
function wait(button, seconds) {
  const until = performance.now() + 1000 * seconds;
  const tick = () => {
    const left = Math.ceil((until - performance.now()) / 1000);
    button.textContent = left > 0 ? `Try again (best in ${left} s)` : "Try again";
    if (left <= 0) clearInterval(countdown);
  };
  tick();
  countdown = setInterval(tick, 500);
}

function clearProblem() {
  clearInterval(countdown);
  byId("problem").hidden = true;
  for (const field of Object.values(FIELD_OF)) {
    byId(field).removeAttribute("aria-invalid");
    byId(`${field}-error`).hidden = true;
  }
}

/** Ask what the service is, until it is ready. */
async function describeService() {
  const state = byId("state");
  try {
    info = await (await fetch("info")).json();
  } catch {
    info = null;
  }
  const status = info?.status ?? "away";
  state.className = `state ${status}`;
  state.textContent = { ready: "ready", loading: "loading the model …", draining: "shutting down", away: "not reachable" }[status] ?? "not ready";
  if (info) {
    byId("key-field").hidden = !info.needs_key;
    byId("clip-hint").textContent = `One person speaking; video or sound alone; up to ${info.limits.max_clip_seconds} s and ${size(info.limits.max_upload_bytes)}.`;
    byId("foot").textContent = info.model ? `${info.model.name} ${info.model.version} on ${info.device}` : "";
  }
  if (status !== "ready") setTimeout(describeService, SLOW_POLL);
}

byId("form").addEventListener("submit", submit);
byId("cancel").addEventListener("click", () => running?.abort());
for (const [id, use] of [["clip", choose], ["transcript-file", loadTranscript]]) {
  const input = byId(id);
  input.addEventListener("change", () => input.files[0] && use(input.files[0]));
  // Chromium opens the dialogue by the space bar alone; as a button it should by Enter, too.
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    input.click();
  });
}
byId("transcript").addEventListener("input", () => {
  describeTranscript();
  clearProblem();
});
byId("preview").addEventListener("error", () => (byId("preview").hidden = true));
setUpDrop();
setUpRecorder({
  longest: () => info?.limits.max_clip_seconds ?? 50,
  onClip: choose,
  onError: (detail) => showProblem(new Problem({ title: "No recording", code: "no_recording", detail, param: null })),
});
describeService();
