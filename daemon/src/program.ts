import { toHex } from "@proof-of-compute/proto";
import type { KindRegistry } from "@proof-of-compute/proto/kinds";
import { onStopRequests } from "@proof-of-compute/proto/stop-requests";
import { type Config, readConfig } from "./config.ts";
import { Daemon } from "./daemon.ts";
import { openDataDir } from "./data-dir.ts";
import { DaemonError, EXITS } from "./errors.ts";
import { EXECUTORS } from "./kinds/index.ts";
import type { ExecutorFactory } from "./kinds/kind.ts";
import { measureRates } from "./kinds/rates.ts";
import { createLogger } from "./log.ts";
import { openTerminal, StatusScreen } from "./status.ts";
import { UnitsReader } from "./units.ts";
import { VERSION } from "./version.ts";

/**
 * The program: reads its arguments, runs a daemon until a signal stops it, and sets the exit code. Programs that know more
 * kinds pass their own registry.
 */
export async function main(
  args: readonly string[],
  executors: KindRegistry<ExecutorFactory> = EXECUTORS,
): Promise<void> {
  try {
    const config = readConfig(args);
    if (config) await runDaemon(config, executors);
  } catch (error) {
    const known = error instanceof DaemonError;
    console.error(known ? `error: ${error.message}` : error);
    process.exitCode = known ? EXITS[error.exit].code : EXITS.FAILED.code;
  }
}

/** Runs until a signal stops it; throws a DaemonError when it cannot run. */
async function runDaemon(config: Config, factories: KindRegistry<ExecutorFactory>): Promise<void> {
  await using closers = new AsyncDisposableStack();
  const dataDir = await openDataDir(config.dataDir);
  closers.defer(() => dataDir.close());
  const { identity } = dataDir;
  const node = { nodeId: toHex(identity.nodeId), wallet: config.wallet };

  const live = config.log === "pretty" && process.stdout.isTTY;
  const terminal = live ? openTerminal(process.stdout) : undefined;
  const logger = createLogger(config, terminal);
  const executors = Array.from(factories, (factory) => {
    const executor = factory.create({ cpuSlots: config.slots });
    closers.defer(() => executor.stop());
    return executor;
  });
  const rates = await measureRates({ executors, logger }, { dataDir: config.dataDir, anew: config.measure });

  const daemon = new Daemon({ logger, identity, executors }, { ...config, rates });
  const units = new UnitsReader(
    { logger },
    { wallet: config.wallet, ...(config.rpcUrl !== undefined && { rpcUrl: config.rpcUrl }) },
  );
  closers.defer(() => units.stop());
  daemon.on("change", () => {
    const { connection } = daemon;
    if (connection.phase === "online") units.follow(connection.welcome);
  });

  onStopRequests({
    onFirst(signal) {
      logger.info({ signal }, "draining; a second signal ends the daemon at once");
      daemon.drain(signal).catch((error) => logger.error({ error }, "cannot drain"));
    },
  });
  if (terminal) {
    const screen = new StatusScreen({ daemon, units, terminal }, { node });
    screen.start();
    closers.defer(() => screen.stop());
  }
  const unitsPerSecond = Object.fromEntries(rates);
  logger.info(
    { version: VERSION, ...node, slots: config.slots, unitsPerSecond, dataDir: config.dataDir },
    "daemon started",
  );
  await daemon.start();
  closers.defer(() => daemon.stop());
  await daemon.ended;
  logger.info("daemon stopped");
}
