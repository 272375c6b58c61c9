// Recording with camera and microphone. Nothing leaves the browser before the form is sent.

import { announce, byId } from "./dom.js";
import { clock } from "./words.js";

const FORMATS = ["video/mp4;codecs=avc1.42E01E,mp4a.40.2", "video/webm;codecs=vp8,opus", "video/webm", "video/mp4"];

const REFUSED = {
  NotAllowedError: "The browser was not allowed to use camera and microphone. Allow it in the address bar, then try again.",
  NotFoundError: "No camera or no microphone was found.",
  NotReadableError: "Camera or microphone is in use by another program.",
};

/**
 * Make the record button work.
 * @param {{longest: () => number, onClip: (file: File) => void, onError: (text: string) => void}} uses
 *   `longest`: most seconds to record.
 */
export function setUpRecorder({ longest, onClip, onError }) {
  const panel = byId("recorder");
  const [open, start, close] = ["record", "record-start", "record-close"].map(byId);
  let stream = null;
  let recorder = null;
  let clockTimer = 0;

  open.addEventListener("click", async () => {
    // Browsers give cameras to pages of this machine and to pages with TLS alone.
    if (!navigator.mediaDevices || !window.MediaRecorder) {
      return onError("Recording needs https:// (or this very machine) and a current browser. Choose a file instead.");
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        audio: true,
        video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" },
      });
    } catch (error) {
      return onError(REFUSED[error.name] ?? `Recording cannot start: ${error.message}`);
    }
    const camera = byId("camera");
    camera.srcObject = stream;
    camera.play();
    panel.hidden = false;
    open.hidden = true;
    start.focus();
  });

  start.addEventListener("click", () => (recorder ? recorder.stop() : begin()));
  close.addEventListener("click", () => {
    shut();
    open.focus();
  });

  function begin() {
    const type = FORMATS.find((format) => MediaRecorder.isTypeSupported(format));
    const mine = new MediaRecorder(stream, { mimeType: type });
    const pieces = [];
    const began = performance.now();
    mine.addEventListener("dataavailable", (event) => pieces.push(event.data));
    mine.addEventListener("stop", () => {
      if (recorder !== mine) return;
      shut();
      const kind = mine.mimeType.split(";")[0];
      onClip(new File(pieces, `recording.${kind.split("/")[1]}`, { type: kind }));
    });
    recorder = mine;
    recorder.start();
    start.textContent = "Stop and use it";
    announce("Recording");
    clockTimer = setInterval(() => {
      const seconds = (performance.now() - began) / 1000;
      byId("record-time").textContent = `${clock(seconds)} of ${clock(longest())}`;
      if (seconds >= longest() - 0.5) recorder.stop();
    }, 100);
  }

  /** Camera off; a recording that runs is thrown away. */
  function shut() {
    clearInterval(clockTimer);
    const running = recorder;
    recorder = null;
    if (running?.state === "recording") running.stop();
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    byId("camera").srcObject = null;
    byId("record-time").textContent = "";
    start.textContent = "Start recording";
    panel.hidden = true;
    open.hidden = false;
  }
}
