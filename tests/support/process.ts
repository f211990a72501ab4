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

/** Adds a process to the reaper's list, or removes it. The first call starts the reaper. */
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

/** Options of a program. */
export interface ProgramInit {
  /** File for all output of all its runs. Without it, only the last lines are kept. */
  readonly log?: string;
  /** Modules to load before it (`node --import`). */
  readonly imports?: readonly string[];
  /** Root of another version of the project, to run its program. */
  readonly root?: string;
}

/** One of the project's programs as a process, which a test may start, stop and kill repeatedly. */
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

  /** Starts the program; `env` is added to its environment for this run. */
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

  /** Whether it is running. */
  get running(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Exit code or signal of an unexpected end; otherwise undefined. */
  get failure(): number | NodeJS.Signals | undefined {
    if (!this.#process || this.#ending || this.running) return undefined;
    return this.#process.exitCode ?? this.#process.signalCode!;
  }

  /** Throws, with its last lines, after an unexpected end. */
  assertAlive(): void {
    if (this.failure !== undefined) {
      throw new Error(`${this.#script} ended with ${this.failure}:\n${this.lastLines}`);
    }
  }

  get lastLines(): string {
    if (this.#init.log === undefined) return this.#lines.join("\n");
    return readFileSync(this.#init.log, "utf8").trimEnd().split("\n").slice(-KEPT).join("\n");
  }

  /** Sends a signal to the running program. */
  signal(signal: NodeJS.Signals): void {
    if (this.running) this.#process!.kill(signal);
  }

  /** Sends a signal and waits for the end; returns the exit code, null after SIGKILL. */
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

/** Ports that this process has returned; their servers may not listen yet. */
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

/** Uniform numbers in [0, 1) from a seed (mulberry32), so that a failure can be repeated. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
