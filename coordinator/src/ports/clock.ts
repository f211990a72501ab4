/** Time. Tests drive it by hand. */
export interface Clock {
  /** Wall clock in milliseconds since 1970, for people and for deadlines. */
  now(): number;
  /** Monotonic milliseconds, for every interval. */
  monotonic(): number;
  /** Runs `callback` every `ms` until the returned function is called; never keeps the process alive. */
  every(ms: number, callback: () => void): () => void;
  /** Runs `callback` once after `ms` unless the returned function is called first; never keeps the process alive. */
  after(ms: number, callback: () => void): () => void;
}
