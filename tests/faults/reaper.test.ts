import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { expect, it } from "vitest";

const PROCESS = new URL("../support/process.ts", import.meta.url).href;
/** Starts an idle program, stops it (SIGSTOP), and prints its process id. */
const RUNNER = `
  import { Program } from ${JSON.stringify(PROCESS)};
  const program = new Program("-e", ["console.log(process.pid); setInterval(() => {}, 1000)"]);
  program.start();
  while (program.lastLines === "") await new Promise((resolve) => setTimeout(resolve, 20));
  program.signal("SIGSTOP");
  console.log(program.lastLines);
  setInterval(() => {}, 1000);
`;

it("kills a stopped program once its runner is killed", async () => {
  const runner = spawn(process.execPath, ["--input-type=module", "--eval", RUNNER], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface({ input: runner.stdout }), "line")) as [string];
  const pid = Number(line);
  expect(isRunning(pid)).toBe(true);
  runner.kill("SIGKILL");
  await expect.poll(() => isRunning(pid), { timeout: 30_000 }).toBe(false);
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A container may have no process that collects zombies.
    return !(existsSync(`/proc/${pid}/stat`) && readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z "));
  } catch {
    return false;
  }
}
