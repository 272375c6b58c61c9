// The page: the form, the request, the answer or the problem.

import { ask, whatIsMissing } from "./ask.js";
import { choose, chosen, chosenSeconds, setUpChoosing } from "./choose.js";
import { announce, byId } from "./dom.js";
import { clearProblem, showProblem } from "./problem.js";
import { setUpRecorder } from "./record.js";
import { clipResult, timelineResult } from "./result.js";
import { scoreInWords } from "./scale.js";
import { Problem } from "./send.js";
import { captionsOf } from "./transcript.js";
import { percent } from "./words.js";

const POLL_MS = 2000;

const STATES = { ready: "ready", loading: "loading the model …", draining: "shutting down", away: "not reachable" };

let info = null;
let running = null;

async function submit(event) {
  event.preventDefault();
  if (running) return;
  clearProblem();
  const asked = {
    clip: chosen.clip,
    seconds: chosenSeconds(),
    transcript: byId("transcript").value,
    key: byId("key").value.trim(),
  };
  const missing = whatIsMissing(asked, info);
  if (missing) return showProblem(missing);
  running = new AbortController();
  busy(true);
  try {
    showResult(await ask(asked, { info, signal: running.signal, onUpload, onWork }), asked);
  } catch (error) {
    if (error instanceof Problem) showProblem(error);
    else if (error.name === "AbortError") announce("Cancelled");
    else throw error;
  } finally {
    running = null;
    busy(false);
  }
}

function busy(yes) {
  byId("submit").setAttribute("aria-disabled", yes);
  byId("cancel").hidden = !yes;
  byId("progress").hidden = !yes;
  byId("result").setAttribute("aria-busy", yes);
}

function onUpload(share) {
  byId("bar").value = share;
  byId("progress-text").textContent = `Uploading: ${percent(share)}`;
}

function onWork(route, share) {
  const working = route === "timeline" ? "Scoring each caption" : "Listening and looking";
  if (share === null) {
    byId("bar").removeAttribute("value");
    announce(working);
  } else byId("bar").value = share;
  byId("progress-text").textContent = share === null ? `${working} …` : `${working}: ${percent(share)}`;
}

function showResult({ answer, timeline, untimed, curl }, { seconds, transcript }) {
  const uses = { url: chosen.url, seconds, captions: captionsOf(transcript), curl, untimed };
  const parts = answer ? clipResult(answer, timeline, uses) : timelineResult(timeline, uses);
  byId("preview").pause();
  byId("preview").hidden = true;
  byId("result-body").replaceChildren(...parts.filter(Boolean));
  byId("result-title").focus({ preventScroll: true });
  byId("result").scrollIntoView({ block: "start" });
  const warnings = answer ?? timeline;
  announce(`${scoreInWords(answer ?? timeline.overall)} ${warnings.warnings.length} warnings.`);
}

/** Ask what the service is, until it is ready. */
async function describeService() {
  try {
    info = await (await fetch("info")).json();
  } catch {
    info = null;
  }
  const status = info?.status ?? "away";
  byId("state").className = `state ${status}`;
  byId("state").textContent = STATES[status] ?? "not ready";
  if (info) {
    byId("key-field").hidden = !info.needs_key;
    byId("clip-hint").textContent = `One person speaking; video or sound alone; up to ${info.limits.max_clip_seconds} s, with captions up to ${Math.floor(info.limits.max_timeline_seconds / 60)} min.`;
    byId("foot").textContent = info.model ? `${info.model.name} ${info.model.version} on ${info.device}` : "";
  }
  if (status !== "ready") setTimeout(describeService, POLL_MS);
}

byId("form").addEventListener("submit", submit);
byId("cancel").addEventListener("click", () => running?.abort());
setUpChoosing(clearProblem);
setUpRecorder({
  longest: () => info?.limits.max_clip_seconds ?? 50,
  onClip: (file) => {
    choose(file);
    clearProblem();
  },
  onError: (detail) => showProblem(new Problem({ title: "No recording", code: "no_recording", detail, param: null })),
});
describeService();
