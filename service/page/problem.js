// A problem, told kindly: at the field that caused it, else in a box of its own.

import { byId, html } from "./dom.js";

const FIELD_OF = { video: "clip", transcript: "transcript", Authorization: "key" };

let countdown = 0;

/** @param {import("./send.js").Problem} problem */
export function showProblem(problem) {
  const again = html("button", { type: "submit", class: "quiet" }, "Try again");
  const field = FIELD_OF[problem.param];
  const parts = [html("b", {}, problem.title)];
  if (!field) parts.push(html("p", {}, problem.message));
  if (problem.retryAfter !== null) {
    parts.push(again);
    wait(again, problem.retryAfter);
  }
  if (problem.requestId) parts.push(html("p", { class: "muted small" }, `${problem.code}, request ${problem.requestId}`));
  const box = byId("problem");
  box.replaceChildren(...parts);
  // What the page found by itself needs no more than the words at the field.
  box.hidden = Boolean(field) && !problem.requestId;
  if (!field) return box.focus();
  if (field === "key") byId("key-field").hidden = false;
  byId(field).setAttribute("aria-invalid", "true");
  byId(`${field}-error`).textContent = problem.message;
  byId(`${field}-error`).hidden = false;
  byId(field).focus();
}

export function clearProblem() {
  clearInterval(countdown);
  byId("problem").hidden = true;
  for (const field of Object.values(FIELD_OF)) {
    byId(field).removeAttribute("aria-invalid");
    byId(`${field}-error`).hidden = true;
  }
}

/** Count the seconds down that the service asked to wait. */
function wait(button, seconds) {
  const until = performance.now() + 1000 * seconds;
  const tick = () => {
    const left = Math.ceil((until - performance.now()) / 1000);
    button.textContent = left > 0 ? `Try again (best in ${left} s)` : "Try again";
    if (left <= 0) clearInterval(countdown);
  };
  countdown = setInterval(tick, 500);
  tick();
}
