// Ask a running service for the sentiment of a clip, with what Node 20 brings along.
//
//   node examples/client.mjs http://127.0.0.1:8000 clip.mp4 "what is said in it"
//
// DPDF_KEY is the API key, where the service asks for one. In a browser a File takes the Blob's place.
import { openAsBlob } from "node:fs";
import { basename } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const ATTEMPTS = 5;

async function predict(service, clip, transcript) {
  const form = new FormData();
  form.append("video", await openAsBlob(clip), basename(clip));
  form.append("transcript", transcript);
  form.append("explain", "true");
  const key = process.env.DPDF_KEY;
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  for (let attempt = 1; ; attempt += 1) {
    const response = await fetch(`${service}/predict`, { method: "POST", body: form, headers });
    if (response.ok) return response.json();
    const seconds = Number(response.headers.get("retry-after"));
    if (!seconds || attempt === ATTEMPTS) {
      const problem = await response.json();
      throw new Error(`${problem.code}: ${problem.detail} (${problem.request_id})`);
    }
    await pause(1000 * seconds);
  }
}

const [service, clip, transcript] = process.argv.slice(2);
if (!transcript) {
  console.error("usage: node examples/client.mjs SERVICE CLIP TRANSCRIPT");
  process.exit(2);
}
try {
  const answer = await predict(service, clip, transcript);
  const codes = answer.warnings.map((warning) => warning.code);
  console.log(answer.score.toFixed(2), answer.label, ...codes);
  console.log(answer.explanation.shapley);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
