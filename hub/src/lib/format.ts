/** Shortens an id in its middle, keeping enough of both ends to compare by eye. */
export function middle(id: string, head = 8, tail = 6): string {
  return id.length <= head + tail + 1 ? id : `${id.slice(0, head)}…${id.slice(-tail)}`;
}

/** Writes a whole number with its thousands separated, without floating point. */
export function grouped(value: bigint | number | string): string {
  return BigInt(value).toLocaleString("en-US");
}

/** Keeps a number and its unit on one line. */
const NBSP = "\u00a0";

const SPANS: readonly [unit: string, milliseconds: number][] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
];

/** Writes a span of time in its largest whole unit: "0 s" below one second. */
export function span(milliseconds: number): string {
  const [unit, size] = SPANS.find(([, size]) => milliseconds >= size) ?? ["s", 1_000];
  return `${Math.max(0, Math.floor(milliseconds / size))}${NBSP}${unit}`;
}

/** Writes how long ago a time was, both in milliseconds since 1970. */
export function ago(then: number, now: number): string {
  return now - then < 2_000 ? "just now" : `${span(now - then)} ago`;
}

/** Writes a span that was measured: to a tenth of a second below a minute. */
export function elapsed(milliseconds: number): string {
  return milliseconds < 60_000 ? `${(Math.max(0, milliseconds) / 1_000).toFixed(1)}${NBSP}s` : span(milliseconds);
}

/** Writes a span that was estimated, in whole units: "~3 min". */
export function estimate(milliseconds: number): string {
  return milliseconds < 1_000 ? `<${NBSP}1${NBSP}s` : `~${span(milliseconds)}`;
}

/** Writes a fraction of a whole in percent. */
export function percent(fraction: number): string {
  return `${Math.round(fraction * 100)}%`;
}

/**
 * Writes a program's message as a sentence: a capital letter at the start and a full stop at the end. A first word that is
 * not plain, such as a field's name, keeps its case; a text without a space is a value and stays as it is.
 */
export function sentence(text: string): string {
  if (!text.includes(" ")) return text;
  const start = /^[a-z]+[\s,;:]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?…]$/.test(start) ? start : `${start}.`;
}

const WEI_DIGITS = 18;

/** Writes an amount in wei as whole coins with four decimals, rounded down. */
export function coins(wei: string): string {
  const digits = wei.padStart(WEI_DIGITS + 1, "0");
  return `${grouped(digits.slice(0, -WEI_DIGITS))}.${digits.slice(-WEI_DIGITS, -WEI_DIGITS + 4)}`;
}
