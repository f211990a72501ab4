/** `npm start`: the whole network on one machine, until Ctrl-C. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { onStopRequests } from "@proof-of-compute/proto/stop-requests";
import { showRestored, showTask } from "./local/evidence.ts";
import { LocalNetwork } from "./local/local-network.ts";
import { foldersOf, readLocalSettings } from "./local/settings.ts";
import { LocalError, type Say, shortPath } from "./local/terminal.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const INTERRUPTED = new Error("interrupted");

const say: Say = (label, ...lines) => {
  for (const [index, line] of lines.entries()) console.log(`  ${(index === 0 ? label : "").padEnd(13)} ${line}`);
};

async function bringUp(network: LocalNetwork, task: boolean, signal: AbortSignal): Promise<void> {
  const chain = await network.startChain(signal);
  await network.startCoordinators(chain, signal);
  if (chain.isLocal) await showRestored({ chain, network, say }, signal);
  await network.startDaemon(chain, signal);
  if (task) await showTask({ chain, network, say }, signal);
}

/** npm runs this under a shell. A SIGTERM to npm ends the shell without a signal to this process, so watch the parent. */
function whenOrphaned(callback: () => void): NodeJS.Timeout {
  const parent = process.ppid;
  return setInterval(() => process.ppid !== parent && callback(), 500).unref();
}

async function main(): Promise<void> {
  const dotenv = join(ROOT, ".env");
  if (existsSync(dotenv)) process.loadEnvFile(dotenv);
  const settings = readLocalSettings(process.argv.slice(2), process.env);

  const controller = new AbortController();
  const { signal } = controller;
  const network = new LocalNetwork({ say, onFailure: (error) => controller.abort(error) }, { settings, root: ROOT });
  onStopRequests({
    signals: ["SIGINT", "SIGTERM", "SIGHUP"],
    onFirst: () => controller.abort(INTERRUPTED),
    onAgain() {
      network.kill();
      process.exit(1);
    },
  });

  const orphaned = whenOrphaned(() => controller.abort(INTERRUPTED));

  try {
    console.log("\nProof of Compute, all of it on this machine\n");
    await bringUp(network, settings.task, signal);
    console.log(`\n  Hub    ${network.origin}\n  Logs   ${shortPath(foldersOf(settings.dataDir).logs)}`);
    console.log("  Ctrl-C ends all of it.\n");
    await new Promise((_, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  } catch (error) {
    // A request may have failed because a program died. Wait a moment for that program's end, which explains it.
    if (!signal.aborted && !(error instanceof LocalError)) await sleep(500);
    const reason: unknown = signal.aborted ? signal.reason : error;
    if (reason !== INTERRUPTED) throw reason;
    console.log(`\n  ending: daemon, ${settings.coordinators > 1 ? "coordinators" : "coordinator"}, chain`);
  } finally {
    clearInterval(orphaned);
    await network.stop();
  }
  console.log("  ended");
}

await main().catch((error: unknown) => {
  const cause = error instanceof LocalError && error.cause instanceof Error ? `\n  (${error.cause.message})` : "";
  console.error(error instanceof LocalError ? `\nnpm start: ${error.message}${cause}` : error);
  process.exitCode = 1;
});
