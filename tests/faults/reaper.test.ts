import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { expect, it } from "vitest";

const PROCESS = new URL("../support/process.ts", import.meta.url).href;
/** Starts a program that does nothing for ever, stops it (SIGSTOP), and names it. */
const RUNNER = `
  import { Program } from ${JSON.stringify(PROCESS)};
  const program = new Program("-e", ["console.log(process.pid); setInterval(() => {}, 1000)"]);
  program.start();
  while (program.lastLines === "") await new Promise((resolve) => setTimeout(resolve, 20));
  program.signal("SIGSTOP");
  console.log(program.lastLines);
  setInterval(() => {}, 1000);
`;

it("kills a stopped program after its runner was killed", async () => {
  const runner = spawn(process.execPath, ["--input-type=module", "--eval", RUNNER], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface({ input: runner.stdout }), "line")) as [string];
  const pid = Number(line);
  expect(isThere(pid)).toBe(true);
  runner.kill("SIGKILL");
  await expect.poll(() => isThere(pid), { timeout: 30_000 }).toBe(false);
});

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // In a container nobody may collect what has ended.
    return !(existsSync(`/proc/${pid}/stat`) && readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z "));
  } catch {
    return false;
  }
}
