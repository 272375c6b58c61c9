// The command that asks the same from a terminal.

import { kindOf } from "./transcript.js";

/** A word for a POSIX shell. */
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/**
 * @param {{url: string, clip: string, transcript: string, fields: Object<string, string>, needsKey: boolean}} asked
 */
export function curlCommand({ url, clip, transcript, fields, needsKey }) {
  // Inside curl's own quotes, a file name may hold commas and semicolons.
  const name = `"${clip.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  const kind = kindOf(transcript);
  const words =
    kind === ".txt"
      ? `--form-string ${quoted(`transcript=${transcript}`)}`
      : `-F transcript=@captions${kind}`;
  return [
    `curl ${quoted(url)}`,
    ...(needsKey ? ['-H "Authorization: Bearer $DPDF_KEY"'] : []),
    `-F ${quoted(`video=@${name}`)}`,
    words,
    ...Object.entries(fields).map(([field, value]) => `-F ${quoted(`${field}=${value}`)}`),
  ].join(" \\\n  ");
}
