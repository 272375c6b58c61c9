// Long work: handed in, followed by its events, fetched, and forgotten by the service.

import { Problem, send, UNREACHABLE } from "./send.js";

const AGAIN_MS = 2000;

/** Times that following is begun anew without having heard anything. */
const ATTEMPTS = 5;

/**
 * @param {FormData} form with the field `kind`
 * @param {object} uses
 * @param {string} uses.key
 * @param {AbortSignal} uses.signal
 * @param {(share: number) => void} uses.onUpload
 * @param {(share: number) => void} uses.onProgress
 * @returns {Promise<object>} the result
 * @throws {Problem} also what the job failed with, and an AbortError
 */
export async function runJob(form, { key, signal, onUpload, onProgress }) {
  const { id } = await send("jobs", form, { key, signal, onUpload });
  const path = `jobs/${encodeURIComponent(id)}`;
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  try {
    const job = await finished(path, headers, signal, onProgress);
    if (job.state === "done") return job.result;
    throw new Problem(job.problem ?? { title: "Cancelled", code: "cancelled", detail: "The work was cancelled." });
  } finally {
    // Twice, because the first cancels work that runs and the second forgets it; nobody waits for either.
    const forget = () => fetch(path, { method: "DELETE", headers, keepalive: true });
    forget().then((answer) => answer.status === 200 && forget()).catch(() => {});
  }
}

async function finished(path, headers, signal, onProgress) {
  for (let left = ATTEMPTS; left > 0; left -= 1) {
    try {
      for await (const job of events(`${path}/events`, headers, signal)) {
        left = ATTEMPTS;
        onProgress(job.progress);
        if (["done", "failed", "cancelled"].includes(job.state)) return job;
      }
    } catch (error) {
      if (error instanceof Problem || signal.aborted) throw error;
    }
    // The stream ends when the service is started anew; the job goes on.
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
  throw new Problem(UNREACHABLE);
}

/** The data of server-sent events; by fetch, because EventSource cannot send a key. */
async function* events(path, headers, signal) {
  const response = await fetch(path, { headers: { Accept: "text/event-stream", ...headers }, signal });
  if (response.status >= 500) return;
  if (!response.ok) throw new Problem(await response.json());
  let text = "";
  for await (const piece of pieces(response.body.pipeThrough(new TextDecoderStream()).getReader())) {
    text += piece.replaceAll("\r", "");
    const whole = text.split("\n\n");
    text = whole.pop();
    for (const event of whole) {
      const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5));
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}

async function* pieces(reader) {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
