/**
 * Kills programs whose runner is gone: a stopped (SIGSTOP) one cannot look after itself. Reads lines "+pid" and "-pid"
 * from its standard input; when that ends, however the runner ended, it kills who is still named.
 */
import { createInterface } from "node:readline";

const named = new Set<number>();

// Ctrl-C is the runner's to answer.
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
    // It ended in time.
  }
}
