// What is in the transcript's field: plain words, WebVTT or SRT, told by its look.

const TIMES = /(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{3})\s+-->\s+(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{3})/;

/** ".vtt", ".srt" or ".txt". */
export function kindOf(text) {
  if (/^\uFEFF?WEBVTT(\s|$)/.test(text)) return ".vtt";
  return /^\uFEFF?\s*\d+\s*\r?\n\s*\d+:\d{2}:\d{2}[.,]\d{3}\s+-->/.test(text) ? ".srt" : ".txt";
}

/**
 * Captions with their times, for display alone: the service reads the file anew.
 * @returns {{start_seconds: number, end_seconds: number, text: string}[]}
 */
export function captionsOf(text) {
  if (kindOf(text) === ".txt") return [];
  const blocks = text.replace(/\r/g, "").split(/\n{2,}/);
  return blocks.flatMap((block) => {
    const lines = block.split("\n");
    const at = lines.findIndex((line) => TIMES.test(line));
    if (at < 0) return [];
    const [, h1, m1, s1, f1, h2, m2, s2, f2] = TIMES.exec(lines[at]).map((n) => Number(n ?? 0));
    const said = lines.slice(at + 1).join(" ").replace(/<[^>]*>|\{\\[^}]*\}/g, "").trim();
    return [
      {
        start_seconds: 3600 * h1 + 60 * m1 + s1 + f1 / 1000,
        end_seconds: 3600 * h2 + 60 * m2 + s2 + f2 / 1000,
        text: said,
      },
    ];
  });
}

/** The form's part: a text field for words, a file named for its kind for captions. */
export function addTranscript(form, text) {
  const kind = kindOf(text);
  if (kind === ".txt") form.append("transcript", text);
  else form.append("transcript", new Blob([text], { type: "text/plain" }), `captions${kind}`);
}
