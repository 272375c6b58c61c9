// What is in the transcript's field: plain words, or WebVTT, SRT or JSON with times, told by its look.

const TIMES = /(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{3})\s+-->\s+(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{3})/;

/** ".vtt", ".srt", ".json" or ".txt". */
export function kindOf(text) {
  if (/^\uFEFF?WEBVTT(\s|$)/.test(text)) return ".vtt";
  if (/^\uFEFF?\s*\d+\s*\r?\n\s*\d+:\d{2}:\d{2}[.,]\d{3}\s+-->/.test(text)) return ".srt";
  return jsonCaptions(text) ? ".json" : ".txt";
}

/**
 * Captions with their times, for display alone: the service reads the transcript anew.
 * @returns {{start_seconds: number, end_seconds: number, text: string}[]}
 */
export function captionsOf(text) {
  const kind = kindOf(text);
  if (kind === ".txt") return [];
  if (kind === ".json") {
    return jsonCaptions(text).map(({ start, end, text: said }) => ({ start_seconds: start, end_seconds: end, text: said }));
  }
  return text.replace(/\r/g, "").split(/\n{2,}/).flatMap(captionIn);
}

function captionIn(block) {
  const lines = block.split("\n");
  const at = lines.findIndex((line) => TIMES.test(line));
  if (at < 0) return [];
  const [, h1, m1, s1, f1, h2, m2, s2, f2] = TIMES.exec(lines[at]).map((n) => Number(n ?? 0));
  return [
    {
      start_seconds: 3600 * h1 + 60 * m1 + s1 + f1 / 1000,
      end_seconds: 3600 * h2 + 60 * m2 + s2 + f2 / 1000,
      text: lines.slice(at + 1).join(" ").replace(/<[^>]*>|\{\\[^}]*\}/g, "").trim(),
    },
  ];
}

/** The list in JSON as Whisper writes it, or null. */
function jsonCaptions(text) {
  if (!/^\uFEFF?\s*[[{]/.test(text)) return null;
  try {
    const found = JSON.parse(text.replace(/^\uFEFF/, ""));
    const list = Array.isArray(found) ? found : found.segments;
    return list.every(({ start, end }) => Number.isFinite(start) && Number.isFinite(end)) ? list : null;
  } catch {
    return null;
  }
}

/** The form's part for one route: words as a text field, captions as a file named for their kind. */
export function transcriptPart(text, route) {
  const kind = kindOf(text);
  if (kind === ".json" && route === "predict") return { words: captionsOf(text).map((c) => c.text).join(" ") };
  return kind === ".txt" ? { words: text } : { file: `captions${kind}` };
}
