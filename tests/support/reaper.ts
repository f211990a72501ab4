/**
 * Kills programs after the end of their test runner, because a stopped one (SIGSTOP) cannot notice it. Reads lines "+pid"
 * and "-pid" from standard input; when that ends, kills the processes that are still listed.
 */
import { createInterface } from "node:readline";

const named = new Set<number>();

// The test runner handles Ctrl-C.
process.on("SIGINT", () => {});

for await (const line of createInterface({ input: process.stdin })) {
  const pid = Number(line.slice(1));
  if (line.startsWith("+")) named.add(pid);
  else named.delete(pid);
}
for (const pid of named) {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has already ended.
  }
}
