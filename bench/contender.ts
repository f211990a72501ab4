import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { cpus } from "node:os";

/** What one contender did in one round. */
export interface Measurement {
  /** Operations a second. */
  readonly rate: number;
  /** Latency of an operation in milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

/** A process of a bench, started from a file beside it. It ends when the bench does. */
export class Contender {
  readonly #process: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#process = child;
  }

  /** Starts the process; resolves, with what it said, once it said that it is ready. `env` is added to the environment. */
  static async start(
    file: URL,
    args: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
  ): Promise<{ contender: Contender; said: string }> {
    const child = fork(file, args, {
      // As many threads as cores: more only take turns (libuv's default of 4 is too many for a small machine).
      env: { ...process.env, UV_THREADPOOL_SIZE: String(cpus().length), NODE_ENV: "production", ...env },
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const gone = once(child, "exit").then(([code]) => {
      throw new Error(`${file.pathname} ended with exit code ${code} before it was ready`);
    });
    const ready = once(child, "message").then(([message]) => (message as { ready: string }).ready);
    return { said: await Promise.race([ready, gone]), contender: new Contender(child) };
  }

  /** Lets the process measure for so many milliseconds. */
  async measure(milliseconds: number): Promise<Measurement> {
    const gone = once(this.#process, "exit").then(([code]) => {
      throw new Error(`a contender ended with exit code ${code} while it was measured`);
    });
    this.#process.send({ measure: milliseconds });
    const answer = once(this.#process, "message").then(([message]) => message as Measurement | { fault: string });
    const measurement = await Promise.race([answer, gone]);
    if ("fault" in measurement) throw new Error(measurement.fault);
    return measurement;
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exit = once(this.#process, "exit");
    this.#process.disconnect();
    await exit;
  }
}

/** In a contender's process: says that it is ready, then measures whenever it is told to, and ends with its parent. */
export function contend(
  ready: string,
  round: (milliseconds: number) => Promise<Measurement>,
  end: () => unknown,
): void {
  process.on("message", (message: { measure: number }) => {
    round(message.measure).then(
      (measurement) => process.send?.(measurement),
      (error: unknown) => process.send?.({ fault: String((error as Error).stack ?? error) }),
    );
  });
  process.once("disconnect", async () => {
    await end();
    process.exit(0);
  });
  process.send?.({ ready });
}

/** Counts operations and their latencies in a window of time. */
export class Meter {
  readonly #latencies: number[] = [];
  readonly #from: number;
  readonly #to: number;

  /** The window opens after a fifth of the time, so that caches and connections are warm. */
  constructor(milliseconds: number) {
    const now = performance.now();
    this.#from = now + milliseconds / 5;
    this.#to = now + milliseconds;
  }

  /** Whether there is time for another operation. */
  get open(): boolean {
    return performance.now() < this.#to;
  }

  /** An operation that began at `started` (performance.now()) ended now. */
  record(started: number): void {
    const now = performance.now();
    if (now >= this.#from && now < this.#to) this.#latencies.push(now - started);
  }

  measurement(): Measurement {
    const sorted = Float64Array.from(this.#latencies).sort();
    if (sorted.length === 0) throw new Error("not one operation ended in the window");
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
    return { rate: (sorted.length * 1000) / (this.#to - this.#from), p50: at(0.5), p99: at(0.99) };
  }
}

/** Keeps `inFlight` operations going until the window closes and all have ended. */
export async function closedLoop(
  inFlight: number,
  milliseconds: number,
  operation: (lane: number) => Promise<void>,
): Promise<Measurement> {
  const meter = new Meter(milliseconds);
  const lane = async (index: number) => {
    while (meter.open) {
      const started = performance.now();
      await operation(index);
      meter.record(started);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, index) => lane(index)));
  return meter.measurement();
}
