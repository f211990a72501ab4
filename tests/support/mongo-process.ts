import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";

/**
 * Becomes the program, with a watcher that kills it when standard input ends, that is when its parent has ended, for
 * whatever reason, even if the program is stopped (SIGSTOP) at that time.
 */
const GUARD = 'exec 3<&0; { cat <&3; kill -9 $$; } >/dev/null 2>&1 & exec 3<&- "$@"';
/** The line that mongod (in a log entry) and the stand-in print once they accept connections. */
const READY = /^ready |"Waiting for connections"/m;
/** Characters of output kept for the message of a failure. */
const KEPT = 4_000;

/** A database server as a child process, which a test may kill, pause and restart on the same data and port. */
export class MongoProcess {
  readonly #command: readonly string[];
  readonly #folder: string;
  #child: ChildProcess | undefined;
  #output = "";

  /** `folder` has its data, and is deleted when it is stopped. */
  constructor(command: readonly string[], folder: string) {
    this.#command = command;
    this.#folder = folder;
    process.once("exit", this.#endAtOnce);
  }

  /** Resolves once it accepts connections; rejects with its output if it ends before. */
  async start(): Promise<void> {
    if (this.#child) return;
    this.#output = "";
    const child = spawn("/bin/sh", ["-c", GUARD, "sh", ...this.#command], { stdio: ["pipe", "pipe", "pipe"] });
    this.#child = child;
    const ready = Promise.withResolvers<void>();
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.#output += text;
        if (READY.test(this.#output)) ready.resolve();
        this.#output = this.#output.slice(-KEPT);
      });
    }
    child.once("exit", (code, signal) => {
      if (this.#child === child) this.#child = undefined;
      ready.reject(new Error(`${this.#command[0]} ended (${code ?? signal}):\n${this.#output}`));
    });
    await ready.promise;
    // A server must not keep a test process alive; it ends with that process.
    for (const handle of [child, child.stdin, child.stdout, child.stderr]) (handle as { unref?(): void }).unref?.();
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const exited = once(child, "exit");
    child.ref();
    child.kill("SIGKILL");
    await exited;
  }

  signal(name: "SIGSTOP" | "SIGCONT"): void {
    if (!this.#child) throw new Error("the database is not running");
    this.#child.kill(name);
  }

  async stop(): Promise<void> {
    await this.kill();
    process.off("exit", this.#endAtOnce);
    this.#removeData();
  }

  readonly #endAtOnce = (): void => {
    this.#child?.kill("SIGKILL");
    this.#removeData();
  };

  #removeData(): void {
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
