import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const EXAMPLE = join(ROOT, "docs/examples/python-node");
/** What requirements.txt needs. */
const OLDEST = "3.11";

/** There is no Python for the example; the message says what is missing. */
export class PythonMissing extends Error {
  override readonly name = "PythonMissing";
}

/**
 * A Python with the packages of the example's requirements.txt: a virtual environment that is made once for each version
 * of Python and of that file. Throws PythonMissing when there can be none on this machine.
 */
export async function examplePython(): Promise<string> {
  const requirements = join(EXAMPLE, "requirements.txt");
  const probe = `import sys, venv, ensurepip; print(sys.executable, sys.version); sys.exit(sys.version_info < (${OLDEST.replace(".", ",")}))`;
  const { stdout } = await run("python3", ["-c", probe]).catch((cause: unknown) => {
    throw new PythonMissing(`needs Python ${OLDEST} or newer with venv, as python3`, { cause });
  });
  const key = createHash("sha256")
    .update(stdout)
    .update(await readFile(requirements))
    .digest("hex")
    .slice(0, 16);
  const folder = join(ROOT, "node_modules/.cache/python-node", key);
  const python = join(folder, "bin/python");
  const complete = join(folder, "complete");
  if (await stat(complete).catch(() => undefined)) return python;
  try {
    await rm(folder, { recursive: true, force: true });
    await run("python3", ["-m", "venv", folder]);
    await run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]);
  } catch (cause) {
    throw new PythonMissing(`pip could not install ${requirements}: ${(cause as Error).message}`, { cause });
  }
  await writeFile(complete, "");
  return python;
}

/** Runs the command of the example's README that generates its stubs, into `folder`. */
export async function generateStubs(python: string, folder: string): Promise<void> {
  const readme = await readFile(join(EXAMPLE, "README.md"), "utf8");
  const command = /^\S*python -m grpc_tools\.protoc (.+?[^\\])$/ms.exec(readme)?.[1];
  if (!command) throw new Error("the README of the Python node says no more how stubs are made");
  const args = command.split(/[\s\\]+/).map((word) => word.replace(/_out=\.$/, `_out=${folder}`));
  await mkdir(folder, { recursive: true });
  await run(python, ["-m", "grpc_tools.protoc", ...args], { cwd: EXAMPLE });
}

/** The example node as a process. */
export class PythonNode {
  /** Its log so far. */
  readonly lines: string[] = [];
  readonly #process: ChildProcess;
  readonly #exit: Promise<number | null>;

  /** `stubs` is the folder of {@link generateStubs}. */
  constructor(python: string, stubs: string, args: readonly string[]) {
    this.#process = spawn(python, [join(EXAMPLE, "node.py"), ...args], {
      env: { ...process.env, PYTHONPATH: stubs, PYTHONDONTWRITEBYTECODE: "1", PYTHONUNBUFFERED: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let rest = "";
    const keep = (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      this.lines.push(...lines);
    };
    for (const stream of [this.#process.stdout!, this.#process.stderr!]) stream.setEncoding("utf8").on("data", keep);
    this.#exit = once(this.#process, "close").then(([code]) => code as number | null);
  }

  /** Number of lines with these words so far; throws with its log if it has ended. */
  count(words: string): number {
    if (this.#process.exitCode !== null) throw new Error(`the Python node ended:\n${this.lines.join("\n")}`);
    return this.lines.filter((line) => line.includes(words)).length;
  }

  /** Sends a signal, and returns the exit code, null after SIGKILL. */
  async end(signal?: NodeJS.Signals): Promise<number | null> {
    if (signal) this.#process.kill(signal);
    return this.#exit;
  }
}
