// The clip and the transcript, as files or by hand.

import { announce, byId } from "./dom.js";
import { captionsOf, kindOf } from "./transcript.js";
import { size } from "./words.js";

const KINDS = { ".vtt": "WebVTT", ".srt": "SRT", ".json": "JSON" };

/** What is chosen: the clip's file, and an address under which the browser plays it. */
export const chosen = { clip: null, url: null };

/** Length of the chosen clip (s); NaN where the browser cannot tell. */
export function chosenSeconds() {
  const { duration } = byId("preview");
  return Number.isFinite(duration) ? duration : Number.NaN;
}

/** Take a clip. */
export function choose(file) {
  if (chosen.url) URL.revokeObjectURL(chosen.url);
  chosen.clip = file;
  chosen.url = URL.createObjectURL(file);
  byId("clip-name").textContent = file.name;
  byId("clip-or").textContent = `(${size(file.size)})`;
  byId("drop").classList.add("chosen");
  byId("preview").src = chosen.url;
  byId("preview").hidden = false;
  announce(`Chosen: ${file.name}, ${size(file.size)}`);
}

async function loadTranscript(file) {
  byId("transcript").value = await file.text();
  describe();
  announce(`Loaded: ${file.name}`);
}

function describe() {
  const text = byId("transcript").value;
  const count = captionsOf(text).length;
  byId("transcript-hint").textContent =
    kindOf(text) === ".txt"
      ? "Plain words, or captions with times (WebVTT, SRT, JSON)."
      : `${KINDS[kindOf(text)]} with ${count} ${count === 1 ? "caption" : "captions"}: the score is also given along the clip.`;
}

const isTranscript = (file) => /\.(txt|vtt|srt|json)$/i.test(file.name) || file.type.startsWith("text/");

/** @param {() => void} onChange called whenever something else is chosen or written */
export function setUpChoosing(onChange) {
  const take = async (file) => {
    await (isTranscript(file) ? loadTranscript(file) : choose(file));
    onChange();
  };
  for (const [id, use] of [["clip", choose], ["transcript-file", loadTranscript]]) {
    const input = byId(id);
    input.addEventListener("change", async () => {
      if (!input.files[0]) return;
      await use(input.files[0]);
      // The same file, changed meanwhile, can be chosen again.
      input.value = "";
      onChange();
    });
    // Chromium opens the dialogue by the space bar alone; as a button it should by Enter, too.
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      input.click();
    });
  }
  byId("transcript").addEventListener("input", () => {
    describe();
    onChange();
  });
  byId("preview").addEventListener("error", () => (byId("preview").hidden = true));
  setUpDrop(take);
}

function setUpDrop(take) {
  const drop = byId("drop");
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  // Anywhere on the page: a file dropped beside the field would otherwise replace the page.
  window.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  window.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  window.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    drop.classList.remove("over");
    for (const file of event.dataTransfer.files) take(file);
  });
}
