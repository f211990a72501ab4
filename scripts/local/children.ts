import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { LocalError, shortPath } from "./terminal.ts";

/** A program ended without having been asked to. */
export class ProgramEnded extends LocalError {
  /** Such as "signal SIGKILL", or "exit code 3: ..." with its last error. */
  readonly how: string;

  constructor(message: string, how: string) {
    super(message);
    this.how = how;
  }
}

/** A program to run as a child process. */
export interface Program {
  /** Used in messages, and for the name of the log file. */
  readonly name: string;
  /** Arguments for node. */
  readonly args: readonly string[];
  /** Added to this process's environment; undefined removes a variable. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** How long the program may take to end on request, in milliseconds. */
  readonly stopMs: number;
}

const GUARD = new URL("guard.ts", import.meta.url).href;
const LAST_LINES = 15;
/** A line of this level of pino or above may say why a program ended. */
const ERROR_LEVEL = 50;

/** A line of a program's log, for people: the message of pino's JSON; any other line unchanged. */
function readLine(line: string): { readonly text: string; readonly isError: boolean } {
  try {
    const { level, msg, err } = JSON.parse(line) as { level: number; msg: string; err?: { message?: string } };
    return { text: err?.message ? `${msg}: ${err.message}` : msg, isError: level >= ERROR_LEVEL };
  } catch {
    return { text: line, isError: false };
  }
}

/** A running program. Its output goes to a log file; it ends when this process ends. */
export class Child {
  readonly name: string;
  /**
   * Rejects with a {@link ProgramEnded} and the last lines of the log when the program ends without having been asked to.
   */
  readonly failed: Promise<never>;
  readonly #process: ChildProcess;
  readonly #log: string;
  readonly #stopMs: number;
  readonly #exited: Promise<string>;
  #stopping = false;

  constructor(program: Program, folders: { readonly root: string; readonly logs: string }) {
    this.name = program.name;
    this.#stopMs = program.stopMs;
    this.#log = join(folders.logs, `${program.name.replaceAll(" ", "-")}.log`);
    mkdirSync(dirname(this.#log), { recursive: true, mode: 0o700 });
    if (existsSync(this.#log)) renameSync(this.#log, `${this.#log}.old`);
    const log = openSync(this.#log, "a", 0o600);
    this.#process = spawn(process.execPath, ["--import", GUARD, ...program.args], {
      cwd: folders.root,
      env: { ...process.env, ...program.env },
      stdio: ["ignore", log, log, "ipc"],
      // In another process group than the terminal's, so that Ctrl-C reaches only this process, which stops the others in
      // order.
      detached: process.platform !== "win32",
    });
    closeSync(log);
    this.#exited = new Promise((resolve) => {
      this.#process.once("error", (error) => resolve(error.message));
      this.#process.once("exit", (code, signal) => resolve(signal ? `signal ${signal}` : `exit code ${code}`));
    });
    this.failed = this.#exited.then((how) => (this.#stopping ? new Promise<never>(() => {}) : this.#fail(how)));
    // Nobody has to wait for it.
    this.failed.catch(() => {});
  }

  /** The next message of the program by `process.send`. */
  async message(signal: AbortSignal): Promise<unknown> {
    return (await once(this.#process, "message", { signal }))[0];
  }

  /** Asks the program to end and waits for that; kills it if it takes too long. Safe to repeat. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#process.kill("SIGTERM");
    const timer = setTimeout(() => this.kill(), this.#stopMs);
    await this.#exited;
    clearTimeout(timer);
  }

  /** Kills the program. */
  kill(): void {
    this.#stopping = true;
    this.#process.kill("SIGKILL");
  }

  #fail(how: string): never {
    const lines = readFileSync(this.#log, "utf8").trimEnd().split("\n").slice(-LAST_LINES).map(readLine);
    const last = lines.map(({ text }) => `  ${text}`).join("\n");
    const why = lines.findLast(({ isError }) => isError)?.text;
    const full = why === undefined ? how : `${how}: ${why}`;
    throw new ProgramEnded(`the ${this.name} ended (${how}). The end of ${shortPath(this.#log)}:\n${last}`, full);
  }
}
