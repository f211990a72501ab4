import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import type { Writable } from "node:stream";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const REAPER = fileURLToPath(new URL("reaper.ts", import.meta.url));
/** Lines of output kept for the message of a failure. */
const KEPT = 30;

let reaper: Writable | undefined;

/** Names a process to the reaper, or takes the name back. It starts with the first one. */
function reap(sign: "+" | "-", pid: number): void {
  if (!reaper) {
    const process_ = spawn(process.execPath, [REAPER], { stdio: ["pipe", "ignore", "ignore"], detached: true });
    process_.unref();
    reaper = process_.stdin;
    (reaper as Writable & { unref(): void }).unref();
    reaper.on("error", () => {});
  }
  reaper.write(`${sign}${pid}\n`);
}

/** How a program is run, beyond its arguments. */
export interface ProgramInit {
  /** File that takes all of its output, one start after the other. Without it only the last lines are kept. */
  readonly log?: string;
  /** Modules that are loaded before it (`node --import`). */
  readonly imports?: readonly string[];
  /** Root of another version of the project, which the program is of. */
  readonly root?: string;
}

/** One of the project's programs as a process of its own, that a test may start, stop and kill as often as it likes. */
export class Program {
  readonly #script: string;
  readonly #args: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  readonly #init: ProgramInit;
  readonly #lines: string[] = [];
  #process: ChildProcess | undefined;
  #ending = false;

  constructor(
    script: string,
    args: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
    init: ProgramInit = {},
  ) {
    this.#script = script;
    this.#args = args;
    this.#env = env;
    this.#init = init;
  }

  /** Starts it; `env` is more of its environment, for this start. */
  start(env: Readonly<Record<string, string>> = {}): void {
    if (this.running) throw new Error(`${this.#script} runs already`);
    const log = this.#init.log === undefined ? undefined : openSync(this.#init.log, "a", 0o600);
    const imports = (this.#init.imports ?? []).flatMap((module) => ["--import", module]);
    const process_ = spawn(process.execPath, [...imports, this.#script, ...this.#args], {
      cwd: this.#init.root ?? ROOT,
      env: { ...process.env, NO_COLOR: "1", ...this.#env, ...env },
      stdio: ["ignore", log ?? "pipe", log ?? "pipe"],
    });
    if (log !== undefined) closeSync(log);
    for (const stream of [process_.stdout, process_.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#lines.push(...text.split("\n").filter((line) => line !== ""));
        this.#lines.splice(0, this.#lines.length - KEPT);
      });
    }
    const { pid } = process_;
    if (pid !== undefined) {
      reap("+", pid);
      process_.once("exit", () => reap("-", pid));
    }
    this.#process = process_;
    this.#ending = false;
  }

  /** Whether it runs; false once it ended by itself. */
  get running(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** How it ended without having been asked to, as exit code or signal; undefined while that is not so. */
  get failure(): number | NodeJS.Signals | undefined {
    if (!this.#process || this.#ending || this.running) return undefined;
    return this.#process.exitCode ?? this.#process.signalCode!;
  }

  /** Throws with its last lines when it ended without having been asked to. */
  assertAlive(): void {
    if (this.failure !== undefined) {
      throw new Error(`${this.#script} ended with ${this.failure}:\n${this.lastLines}`);
    }
  }

  get lastLines(): string {
    if (this.#init.log === undefined) return this.#lines.join("\n");
    return readFileSync(this.#init.log, "utf8").trimEnd().split("\n").slice(-KEPT).join("\n");
  }

  /** Sends a signal, to a program that runs. */
  signal(signal: NodeJS.Signals): void {
    if (this.running) this.#process!.kill(signal);
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

/** Ports that this process has named, whose servers may not listen yet. */
const given = new Set<number>();

/**
 * A free loopback port that stays free until its server listens, and while it is down: below those that systems give to
 * outgoing connections and to servers that name none, one of which could take it.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    if (given.has(port)) continue;
    given.add(port);
    const server = createServer();
    try {
      await once(server.listen(port, "127.0.0.1"), "listening");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") continue;
      throw error;
    }
    server.close();
    await once(server, "close");
    return port;
  }
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
