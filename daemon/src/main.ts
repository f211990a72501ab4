import { availableParallelism } from "node:os";
import { toHex } from "@proof-of-compute/proto";
import { type Config, readConfig } from "./config.ts";
import { Daemon } from "./daemon.ts";
import { openDataDir } from "./data-dir.ts";
import { DaemonError, EXITS } from "./errors.ts";
import { MatmulExecutor } from "./kinds/matmul/executor.ts";
import { threadRate } from "./kinds/rates.ts";
import { createLogger } from "./log.ts";
import { openTerminal, StatusScreen } from "./status.ts";
import { UnitsReader } from "./units.ts";
import { VERSION } from "./version.ts";

const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

/** Runs until it is told to stop; throws a DaemonError when it cannot. */
async function run(config: Config): Promise<void> {
  const closers: (() => unknown)[] = [];
  try {
    const dataDir = await openDataDir(config.dataDir);
    closers.push(dataDir.close);
    const { identity } = dataDir;
    const owner = { nodeId: toHex(identity.nodeId), wallet: config.wallet };

    const live = config.log === "pretty" && process.stdout.isTTY;
    const terminal = live ? openTerminal(process.stdout) : undefined;
    const logger = createLogger(config, terminal);
    const threads = Math.min(config.slots, availableParallelism());
    const executor = new MatmulExecutor({ threads });
    closers.push(() => executor.stop());
    const rate = await threadRate({ executor, logger }, { dataDir: config.dataDir, anew: config.measure });
    // Slots beyond the threads take turns.
    const unitsPerSecond = Math.max(1, Math.floor((rate * threads) / config.slots));

    const daemon = new Daemon({ logger, identity, executors: [executor] }, { ...config, unitsPerSecond });
    const units = new UnitsReader(
      { logger },
      { wallet: config.wallet, ...(config.rpcUrl !== undefined && { rpcUrl: config.rpcUrl }) },
    );
    closers.push(() => units.stop());
    daemon.on("change", () => {
      const { connection } = daemon;
      if (connection.phase === "online") units.follow(connection.welcome);
    });

    drainOnSignals((signal) => {
      logger.info({ signal }, "draining; a second signal ends the daemon at once");
      daemon.drain(signal).catch((error) => logger.error({ error }, "cannot drain"));
    });
    if (terminal) {
      const screen = new StatusScreen({ daemon, units, terminal }, { owner });
      screen.start();
      closers.push(() => screen.stop());
    }
    logger.info(
      { version: VERSION, ...owner, slots: config.slots, unitsPerSecond, dataDir: config.dataDir },
      "daemon started",
    );
    await daemon.start();
    closers.push(() => daemon.stop());
    await daemon.ended;
    logger.info("daemon stopped");
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

/** Calls `drain` at the first signal; a second one ends the process. */
function drainOnSignals(drain: (signal: string) => void): void {
  let signalled = false;
  for (const [signal, code] of Object.entries(SIGNALS)) {
    process.on(signal, () => {
      if (signalled) process.exit(code);
      signalled = true;
      drain(signal);
    });
  }
}

try {
  const config = readConfig(process.argv.slice(2));
  if (config) await run(config);
} catch (error) {
  const known = error instanceof DaemonError;
  console.error(known ? `error: ${error.message}` : error);
  process.exitCode = known ? EXITS[error.exit].code : EXITS.FAILED.code;
}
