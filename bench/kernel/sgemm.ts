import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { access } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { TASK } from "./load.ts";

const run = promisify(execFile);

const SCRIPT = fileURLToPath(new URL("sgemm.py", import.meta.url));
/** Of this bench alone; deleting it costs a download. */
const ENVIRONMENT = fileURLToPath(new URL("../../node_modules/.cache/bench-numpy", import.meta.url));
/** However the BLAS of a NumPy is called, it gets one thread. */
const THREADS = ["OPENBLAS", "OMP", "MKL", "BLIS"].map((name) => [`${name}_NUM_THREADS`, "1"]);

/** NumPy's product of two float32 matrices on one thread, in a process of its own. */
export class Sgemm {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess) {
    this.#process = child;
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  /** Resolves, with the name of its libraries, once it has multiplied for the first time. */
  static async start(): Promise<{ sgemm: Sgemm; said: string }> {
    const child = spawn(await pythonWithNumPy(), [SCRIPT, String(TASK.n)], {
      env: { ...process.env, ...Object.fromEntries(THREADS), VECLIB_MAXIMUM_THREADS: "1" },
      stdio: ["pipe", "pipe", "inherit"],
    });
    const sgemm = new Sgemm(child);
    return { sgemm, said: await sgemm.#line() };
  }

  /** Median seconds of a product, measured for so many milliseconds. */
  async measure(milliseconds: number): Promise<number> {
    this.#process.stdin!.write(`${milliseconds}\n`);
    return Number(await this.#line());
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exit = once(this.#process, "exit");
    this.#process.stdin!.end();
    await exit;
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${SCRIPT} ended before its time`);
    return value;
  }
}

/** A Python with NumPy, in a virtual environment that the first run makes. */
async function pythonWithNumPy(): Promise<string> {
  const python = join(ENVIRONMENT, "bin/python");
  const complete = await access(join(ENVIRONMENT, "complete")).then(
    () => true,
    () => false,
  );
  if (complete) return python;
  try {
    await run("python3", ["-m", "venv", "--clear", ENVIRONMENT]);
    await run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "numpy"]);
    await run(python, ["-c", "open(__import__('sys').argv[1], 'w')", join(ENVIRONMENT, "complete")]);
  } catch (error) {
    throw new Error(`this bench needs python3 with venv, and pip that can install numpy: ${(error as Error).message}`);
  }
  return python;
}
