/** `npm run setup -- browser`: installs a browser for the tests, unless there is one. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { findBrowser } from "@proof-of-compute/tests/support/browser";

const require = createRequire(import.meta.url);

function run(command: string, args: readonly string[]): boolean {
  console.log(`> ${command} ${args.join(" ")}`);
  return spawnSync(command, args, { stdio: "inherit" }).status === 0;
}

function install(): boolean {
  // Debian's package installs its libraries; Playwright's own build expects them on the machine.
  const debian = process.getuid?.() === 0 && existsSync("/etc/debian_version");
  if (debian && (run("apt-get", ["install", "-y", "-q", "chromium"]) || aptAfterUpdate())) return true;
  const cli = join(dirname(require.resolve("playwright-core/package.json")), "cli.js");
  return run(process.execPath, [cli, "install", "chromium"]);
}

function aptAfterUpdate(): boolean {
  return run("apt-get", ["update", "-q"]) && run("apt-get", ["install", "-y", "-q", "chromium"]);
}

if (findBrowser() === undefined && !(install() && findBrowser() !== undefined)) {
  console.error("No browser could be installed. Install Chromium or Chrome, or set CHROMIUM_PATH to one.");
  process.exitCode = 1;
}
