/**
 * `npm run release`: prepares a release in the working tree. The changesets become entries of CHANGELOG.md, and all
 * packages get the next version. Look at the diff, commit it, and tag the commit `v<version>`.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { addRelease, parseChangeset } from "./lib/changelog.ts";

const ROOT = join(import.meta.dirname, "..");
const CHANGESETS = join(ROOT, ".changeset");
const CHANGELOG = join(ROOT, "CHANGELOG.md");
const MANIFEST = join(ROOT, "package.json");

interface Manifest {
  readonly version: string;
}

function readManifest(file: string): Manifest {
  return JSON.parse(readFileSync(file, "utf8")) as Manifest;
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { cwd: ROOT, stdio: "inherit", shell: process.platform === "win32" });
}

const changesets = readdirSync(CHANGESETS)
  .filter((name) => name.endsWith(".md") && name !== "README.md")
  .sort()
  .map((name) => parseChangeset(readFileSync(join(CHANGESETS, name), "utf8")));
if (changesets.length === 0) {
  console.error("There is nothing to release: .changeset has no changeset. `npm run changeset` writes one.");
  process.exit(1);
}

run("changeset", "version");
// Packages share one version (`fixed` in .changeset/config.json); that of the repository follows them.
const { version } = readManifest(join(ROOT, "coordinator/package.json"));
writeFileSync(MANIFEST, `${JSON.stringify({ ...readManifest(MANIFEST), version }, null, 2)}\n`);
run("npm", "install", "--package-lock-only", "--ignore-scripts", "--offline", "--no-fund", "--no-audit");
const today = new Date().toISOString().slice(0, 10);
writeFileSync(CHANGELOG, addRelease(readFileSync(CHANGELOG, "utf8"), version, today, changesets));
// The OpenAPI document names the version.
run("node", "scripts/openapi.ts");
console.log(`\nVersion ${version} is prepared: review the diff, commit it, and tag the commit v${version}.`);
