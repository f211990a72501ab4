import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Coordinator, startCoordinator } from "@proof-of-compute/coordinator/coordinator";
import { resolveSettings } from "@proof-of-compute/coordinator/settings/read";
import { pino } from "pino";
import { storeSettings } from "./store.ts";

/** A coordinator in this process, on free loopback ports, with its own data folder. */
export interface StartedCoordinator extends Coordinator {
  readonly dataDir: string;
  readonly grpcAddress: string;
  readonly origin: string;
}

/**
 * Starts a coordinator as programs do, with settings in text form, and with other kinds if `options` names them. It logs
 * only if LOG_LEVEL is set.
 */
export async function startTestCoordinator(
  settings: Record<string, string> = {},
  options: Parameters<typeof startCoordinator>[2] = {},
): Promise<StartedCoordinator> {
  const temporary = settings.DATA_DIR === undefined;
  const dataDir = settings.DATA_DIR ?? (await mkdtemp(join(tmpdir(), "proof-of-compute-")));
  const coordinator = await startCoordinator(
    resolveSettings({
      GRPC_ADDRESS: "127.0.0.1:0",
      HTTP_ADDRESS: "127.0.0.1:0",
      DRAIN_TIMEOUT: "1s",
      VERIFIER_THREADS: "1",
      ...(await storeSettings(dataDir)),
      ...settings,
      DATA_DIR: dataDir,
    }),
    pino({ level: settings.LOG_LEVEL ?? "silent" }),
    options,
  );
  return {
    ...coordinator,
    dataDir,
    grpcAddress: `127.0.0.1:${coordinator.grpcPort}`,
    origin: `http://127.0.0.1:${coordinator.httpPort}`,
    async stop() {
      await coordinator.stop();
      if (temporary) await rm(dataDir, { recursive: true, force: true });
    },
  };
}
