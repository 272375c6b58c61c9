// Numbers as people read them.

/** A score or a change with its sign: +1.20, −0.35, 0.00. */
export function signed(value, digits = 2) {
  const size = Math.abs(value).toFixed(digits);
  if (Number(size) === 0) return size;
  return (value < 0 ? "−" : "+") + size;
}

export const percent = (share) => `${Math.round(100 * share)}%`;

/** A time in a clip: 0:07.5, 12:03.0. */
export function clock(seconds) {
  const tenths = Math.round(10 * seconds);
  const rest = (tenths % 600) / 10;
  return `${Math.floor(tenths / 600)}:${rest.toFixed(1).padStart(4, "0")}`;
}

export function size(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))}\u00a0kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)}\u00a0MB`;
}

/** The class of a score's colour. */
export function tone(score) {
  return score > 0.5 ? "plus" : score < -0.5 ? "minus" : "even";
}
