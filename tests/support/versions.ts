import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Of this clone, whose packages are linked; outside it, where tools would take it for a part of this version. */
const FOLDER = join(
  tmpdir(),
  "proof-of-compute-versions",
  createHash("sha256").update(ROOT).digest("hex").slice(0, 16),
);
/** Of the workspace itself: never those of another version. */
const SCOPE = "@proof-of-compute";

/** The version before this one. The fixtures of tests/compat are from it; a release moves both (CONTRIBUTING.md). */
export const PREVIOUS = "d72c387b23f55bbe3058a912900579dcb3df303e";

/** The clone has no such commit: its history was not fetched. */
export class VersionMissing extends Error {
  override readonly name = "VersionMissing";
}

/**
 * Checks an earlier version of this repository out of its history, with generated code and the packages of this version,
 * so that its programs can be run. Done once; returns its root. Rejects with {@link VersionMissing}.
 */
export async function checkOut(commit: string): Promise<string> {
  const root = join(FOLDER, commit);
  if (existsSync(root)) return root;
  await run("git", ["cat-file", "-e", `${commit}^{commit}`], { cwd: ROOT }).catch((cause: unknown) => {
    throw new VersionMissing(`this clone has no commit ${commit}; fetch its history: git fetch --unshallow`, { cause });
  });
  await mkdir(FOLDER, { recursive: true });
  const made = await mkdtemp(join(FOLDER, "building-"));
  try {
    const archive = join(made, "archive.tar");
    await run("git", ["archive", "--output", archive, commit], { cwd: ROOT });
    await run("tar", ["-xf", archive, "-C", made]);
    await rm(archive);
    for (const workspace of ["", "coordinator", "daemon", "hub", "proto"]) await linkPackages(made, workspace);
    await run(process.execPath, ["scripts/generate.ts"], { cwd: made });
    await rename(made, root);
  } catch (cause) {
    if (!existsSync(root)) throw cause;
  } finally {
    await rm(made, { recursive: true, force: true });
  }
  return root;
}

/** Links the packages that a workspace of this version has into that of another, except for the workspaces. */
async function linkPackages(root: string, workspace: string): Promise<void> {
  const from = join(ROOT, workspace, "node_modules");
  const to = join(root, workspace, "node_modules");
  if (!existsSync(from)) return;
  await mkdir(to, { recursive: true });
  for (const name of await readdir(from)) {
    if (name !== SCOPE && name !== ".cache") await symlink(join(from, name), join(to, name));
  }
  if (workspace !== "") return;
  await mkdir(join(to, SCOPE));
  for (const name of ["coordinator", "daemon", "hub", "proto"])
    await symlink(join("..", "..", name), join(to, SCOPE, name));
}
