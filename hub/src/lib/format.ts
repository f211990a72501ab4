/** Shortens an id in its middle, keeping enough of both ends to compare by eye. */
export function middle(id: string, head = 8, tail = 6): string {
  return id.length <= head + tail + 1 ? id : `${id.slice(0, head)}…${id.slice(-tail)}`;
}

/** Writes a whole number with thousands separated; never through floating point. */
export function grouped(value: bigint | number | string): string {
  return BigInt(value).toLocaleString("en-US");
}

const SPANS: readonly [unit: string, milliseconds: number][] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
];

/** Writes a span of time in its largest whole unit; "0 s" below one second. */
export function span(milliseconds: number): string {
  const [unit, size] = SPANS.find(([, size]) => milliseconds >= size) ?? ["s", 1_000];
  return `${Math.max(0, Math.floor(milliseconds / size))} ${unit}`;
}

/** Writes how long ago a time was, both in milliseconds since 1970. */
export function ago(then: number, now: number): string {
  return now - then < 2_000 ? "just now" : `${span(now - then)} ago`;
}

/** Writes a span to a tenth of a second below a minute, as computations want it. */
export function elapsed(milliseconds: number): string {
  return milliseconds < 60_000 ? `${(Math.max(0, milliseconds) / 1_000).toFixed(1)} s` : span(milliseconds);
}

/** Writes an estimate of a span, no more exact than it is. */
export function about(milliseconds: number): string {
  return milliseconds < 1_000 ? "under 1 s" : `about ${span(milliseconds)}`;
}

const WEI_DIGITS = 18;

/** Writes an amount in wei as whole coins with four decimals, rounded down. */
export function coins(wei: string): string {
  const digits = wei.padStart(WEI_DIGITS + 1, "0");
  return `${grouped(digits.slice(0, -WEI_DIGITS))}.${digits.slice(-WEI_DIGITS, -WEI_DIGITS + 4)}`;
}
