// The command that asks the same from a terminal.

/** A word for a POSIX shell. */
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/**
 * @param {object} asked
 * @param {string} asked.url
 * @param {string} asked.clip name of its file
 * @param {{words: ?string, file: ?string}} asked.transcript
 * @param {Object<string, string>} asked.fields further fields
 * @param {boolean} asked.needsKey
 */
export function curlCommand({ url, clip, transcript, fields, needsKey }) {
  // Inside curl's own quotes, a file name may hold commas and semicolons.
  const name = `"${clip.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  return [
    `curl ${quoted(url)}`,
    ...(needsKey ? ['-H "Authorization: Bearer $DPDF_KEY"'] : []),
    `-F ${quoted(`video=@${name}`)}`,
    transcript.file ? `-F transcript=@${transcript.file}` : `--form-string ${quoted(`transcript=${transcript.words}`)}`,
    ...Object.entries(fields).map(([field, value]) => `-F ${quoted(`${field}=${value}`)}`),
  ].join(" \\\n  ");
}
