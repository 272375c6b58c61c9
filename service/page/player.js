// The clip, and under it what was measured along it: captions, the face track, the level of sound.

import { html, svg } from "./dom.js";
import { clock, signed, tone } from "./words.js";

const STEP = 1; // seconds, an arrow key

/**
 * @param {{
 *   url: string,
 *   pictures: boolean,
 *   seconds: number,
 *   captions: {start_seconds: number, end_seconds: number, text: string, score?: number}[],
 *   lanes: Element[],
 * }} clip `pictures`: whether the service found any; `seconds`: how long the service found it; `lanes`: pictures over the whole time, from `curve`
 */
export function player({ url, pictures, seconds, captions, lanes }) {
  const video = html("video", { src: url, controls: true, playsinline: true, preload: "auto", "aria-label": "Your clip" });
  const note = html("p", { class: "muted", hidden: true });
  const head = html("div", { class: "head" });
  const seek = html("div", {
    class: "lanes",
    role: "slider",
    tabindex: 0,
    "aria-label": "Position in the clip",
    "aria-valuemin": 0,
    "aria-valuemax": seconds.toFixed(1),
  }, lanes);
  const marks = captions.map((caption) => mark(caption));
  const time = html("div", { class: "time muted" }, html("span", {}, clock(0)), html("span", {}, clock(seconds)));
  const along = html("div", { class: "along" }, captions.length ? html("div", { class: "captions" }, marks) : null, seek, head, time);

  const to = (at) => {
    video.currentTime = Math.max(0, Math.min(seconds, at));
    show();
  };

  function mark(caption) {
    const said = caption.score === undefined ? "" : `, ${signed(caption.score)}`;
    const button = html("button", {
      type: "button",
      class: `caption ${caption.score === undefined ? "" : tone(caption.score)}`,
      title: `${caption.text}${said}`,
      "aria-label": `${clock(caption.start_seconds)}: ${caption.text}${said}`,
      onclick: () => to(caption.start_seconds),
    }, html("span", {}, caption.score === undefined ? "" : signed(caption.score, 1)));
    button.style.left = `${(100 * caption.start_seconds) / seconds}%`;
    button.style.width = `${(100 * (Math.min(seconds, caption.end_seconds) - caption.start_seconds)) / seconds}%`;
    return button;
  }

  function show() {
    const at = Math.min(seconds, video.currentTime);
    head.style.left = `${(100 * at) / seconds}%`;
    time.firstChild.textContent = clock(at);
    seek.setAttribute("aria-valuenow", at.toFixed(1));
    seek.setAttribute("aria-valuetext", `${clock(at)} of ${clock(seconds)}`);
    marks.forEach((button, i) => {
      const { start_seconds: from, end_seconds: until } = captions[i];
      button.classList.toggle("now", at >= from && at < until);
    });
  }

  function run() {
    show();
    if (!video.paused && !video.ended) requestAnimationFrame(run);
  }

  seek.addEventListener("pointerdown", (event) => {
    seek.setPointerCapture(event.pointerId);
    pointTo(event);
  });
  seek.addEventListener("pointermove", (event) => {
    if (seek.hasPointerCapture(event.pointerId)) pointTo(event);
  });
  function pointTo(event) {
    const box = seek.getBoundingClientRect();
    to(((event.clientX - box.left) / box.width) * seconds);
  }

  seek.addEventListener("keydown", (event) => {
    const at = video.currentTime;
    const targets = { ArrowLeft: at - STEP, ArrowDown: at - STEP, ArrowRight: at + STEP, ArrowUp: at + STEP, Home: 0, End: seconds };
    if (event.key === " ") video.paused ? video.play() : video.pause();
    else if (event.key in targets) to(targets[event.key]);
    else return;
    event.preventDefault();
  });
  video.addEventListener("play", run);
  video.addEventListener("timeupdate", show);
  video.addEventListener("loadedmetadata", () => {
    if (video.videoWidth > 0) return;
    video.classList.add("sound");
    if (pictures) say("This browser plays the clip's sound alone. The service could read its pictures.");
  });
  video.addEventListener("error", () => {
    video.hidden = true;
    say("This browser cannot play the clip's format. The service could read it.");
  });
  function say(words) {
    note.textContent = words;
    note.hidden = false;
  }
  show();
  return { element: html("div", { class: "player" }, video, note, along), seekTo: to };
}
