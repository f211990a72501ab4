import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const KIND = fileURLToPath(new URL("hub", import.meta.url));

const run = promisify(execFile);

/** A copy of the hub that knows one kind more than the hub itself. */
export interface EchoHub extends AsyncDisposable {
  /** Where the built pages are. */
  readonly build: string;
}

/** Links the packages of one folder into another. What tools generate for a project ("$app", ".vite") stays its own. */
async function linkModules(from: string, to: string): Promise<void> {
  const [source, target] = [join(from, "node_modules"), join(to, "node_modules")];
  await mkdir(target, { recursive: true });
  for (const name of existsSync(source) ? await readdir(source) : []) {
    if (!/^[.$]/.test(name)) await symlink(join(source, name), join(target, name), "junction");
  }
}

/** Replaces the one occurrence of a text, so that a change of the file is noticed here. */
function replaceOnce(source: string, text: string, replacement: string): string {
  if (source.split(text).length !== 2) throw new Error(`the hub's list of kinds does not have ${text} exactly once`);
  return source.replace(text, replacement);
}

/**
 * Copies the hub, adds the echo kind as a folder and a line in the list of kinds, checks the types, and builds the copy.
 * Rejects when any of that fails.
 */
export async function buildEchoHub(): Promise<EchoHub> {
  const folder = await mkdtemp(join(tmpdir(), "echo-hub-"));
  const hub = join(folder, "hub");
  try {
    await linkModules(ROOT, folder);
    await linkModules(join(ROOT, "hub"), hub);
    for (const name of ["package.json", "src", "static", "tsconfig.json", "vite.config.ts"]) {
      await cp(join(ROOT, "hub", name), join(hub, name), { recursive: true });
    }
    await cp(KIND, join(hub, "src/lib/kinds/echo"), { recursive: true });
    const list = join(hub, "src/lib/kinds/index.ts");
    const source = replaceOnce(await readFile(list, "utf8"), "[matmul]", "[matmul, echo]");
    await writeFile(list, `import { echo } from "./echo/kind.ts";\n${source}`);

    const tool = (path: string, ...args: string[]) =>
      run(process.execPath, [join(ROOT, "node_modules", path), ...args], { cwd: hub });
    await tool("vite/bin/vite.js", "build");
    await tool("svelte-check/bin/svelte-check", "--tsconfig", "./tsconfig.json", "--fail-on-warnings");
  } catch (error) {
    await rm(folder, { recursive: true });
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    throw new Error(`the hub with the echo kind cannot be built: ${stdout}${stderr}`, { cause: error });
  }
  return { build: join(hub, "build"), [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}
