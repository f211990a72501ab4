import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Lines of output kept for the message of a failure. */
const KEPT = 30;

/** One of the project's programs as a process of its own, that a test may start and kill as often as it likes. */
export class Program {
  readonly #script: string;
  readonly #args: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  readonly #lines: string[] = [];
  #process: ChildProcess | undefined;
  #ending = false;

  constructor(script: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}) {
    this.#script = script;
    this.#args = args;
    this.#env = env;
  }

  start(): void {
    const process_ = spawn(process.execPath, [this.#script, ...this.#args], {
      cwd: ROOT,
      env: { ...process.env, NO_COLOR: "1", ...this.#env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [process_.stdout, process_.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.#lines.push(...text.split("\n").filter((line) => line !== ""));
        this.#lines.splice(0, this.#lines.length - KEPT);
      });
    }
    this.#process = process_;
    this.#ending = false;
  }

  /** Whether it runs; false once it ended by itself. */
  get running(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Throws with its last lines when it ended without having been asked to. */
  assertAlive(): void {
    if (this.#process && !this.#ending && !this.running) {
      throw new Error(`${this.#script} ended with exit code ${this.#process.exitCode}:\n${this.lastLines}`);
    }
  }

  get lastLines(): string {
    return this.#lines.join("\n");
  }

  /** Sends a signal and waits for the end; answers the exit code, null after SIGKILL. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const process_ = this.#process;
    if (!process_) return null;
    this.#ending = true;
    if (this.running) {
      const exited = once(process_, "exit");
      process_.kill(signal);
      await exited;
    }
    this.#process = undefined;
    return process_.exitCode;
  }
}

/** A loopback port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** Uniform numbers in [0, 1) that a seed repeats (mulberry32), so that a failure can be run again. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
