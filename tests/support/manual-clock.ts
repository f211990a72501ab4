import type { Clock } from "@proof-of-compute/coordinator/ports/clock";

interface Timer {
  due: number;
  readonly period?: number;
  readonly callback: () => void;
}

/** A clock that stands still until the test moves it; timers run inside {@link advance}, in order of their due time. */
export class ManualClock implements Clock {
  #wall: number;
  #monotonic = 0;
  readonly #timers = new Set<Timer>();

  /** Starts at `wall`, in milliseconds since 1970; the monotonic clock starts at 0. */
  constructor(wall: number = Date.UTC(2026, 0, 1)) {
    this.#wall = wall;
  }

  now(): number {
    // Whole milliseconds, like the machine's clock; a timer may have been due in between.
    return Math.round(this.#wall);
  }

  monotonic(): number {
    return this.#monotonic;
  }

  every(ms: number, callback: () => void): () => void {
    if (!(ms > 0)) throw new RangeError("the period must be above 0 ms");
    return this.#add({ due: this.#monotonic + ms, period: ms, callback });
  }

  after(ms: number, callback: () => void): () => void {
    return this.#add({ due: this.#monotonic + Math.max(0, ms), callback });
  }

  /** Lets `ms` pass on both clocks and runs each timer at its time; a timer set meanwhile runs too if it falls due. */
  advance(ms: number): void {
    const end = this.#monotonic + ms;
    for (let timer = this.#nextUntil(end); timer; timer = this.#nextUntil(end)) {
      this.#move(timer.due - this.#monotonic);
      if (timer.period === undefined) this.#timers.delete(timer);
      else timer.due += timer.period;
      timer.callback();
    }
    this.#move(end - this.#monotonic);
  }

  /** Lets `ms` pass as in a paused process: timers that are due meanwhile run once, at the end. */
  stall(ms: number): void {
    this.#move(ms);
    for (const timer of [...this.#timers].toSorted((a, b) => a.due - b.due)) {
      if (timer.due > this.#monotonic || !this.#timers.has(timer)) continue;
      if (timer.period === undefined) this.#timers.delete(timer);
      else timer.due = this.#monotonic + timer.period;
      timer.callback();
    }
  }

  /** Like {@link advance} in steps of `step` ms, with a turn of the event loop after each step. */
  async run(ms: number, step: number = ms): Promise<void> {
    for (let left = ms; left > 0; left -= step) {
      this.advance(Math.min(step, left));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Shifts the wall clock by `ms`, as an operator or NTP does; the monotonic clock and timers are not affected. */
  jump(ms: number): void {
    this.#wall += ms;
  }

  /** Number of waiting timers, for tests of clean stops. */
  get pending(): number {
    return this.#timers.size;
  }

  #add(timer: Timer): () => void {
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  #move(ms: number): void {
    this.#wall += ms;
    this.#monotonic += ms;
  }

  #nextUntil(end: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.due <= end && (next === undefined || timer.due < next.due)) next = timer;
    }
    return next;
  }
}
