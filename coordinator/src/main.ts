import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import { onStopRequests } from "@proof-of-compute/proto/stop-requests";
import { config as loadDotenv } from "dotenv";
import { pino } from "pino";
import { startCoordinator } from "./coordinator.ts";
import { ComputeError } from "./domain/errors.ts";
import { ConfigError } from "./settings/config-error.ts";
import { readSettings } from "./settings/read.ts";
import type { Settings } from "./settings/table.ts";
import { VERSION } from "./version.ts";

/** 0: stopped on request. 1: a fault. 2: invalid settings. 3: a port, the store or the chain is in use or unavailable. */
const EXIT = { clean: 0, fault: 1, usage: 2, unavailable: 3 } as const;

loadDotenv({ quiet: true });
// gRPC writes errors to stderr that it also throws.
setLogVerbosity(logVerbosity.NONE);

function logTo({ LOG, LOG_LEVEL }: Settings): pino.Logger {
  const pretty = LOG === "pretty" || (LOG === "auto" && process.stdout.isTTY);
  const options: pino.LoggerOptions = {
    level: LOG_LEVEL,
    serializers: { err: pino.stdSerializers.errWithCause },
    redact: ["req.headers.cookie", "req.headers.authorization", "*.privateKey", "*.password"],
  };
  if (!pretty) return pino(options);
  return pino({
    ...options,
    transport: { target: "pino-pretty", options: { ignore: "pid,hostname", translateTime: "HH:MM:ss" } },
  });
}

async function main(): Promise<number> {
  let settings: Settings;
  try {
    settings = readSettings(process.argv, process.env, VERSION);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    console.error(`These settings do not work:\n${error.message}\nSee --help or docs/reference/configuration.md.`);
    return EXIT.usage;
  }
  const logger = logTo(settings);
  process.on("unhandledRejection", (error) => logger.error({ err: error }, "unhandled rejection"));
  const stop = new Promise<NodeJS.Signals | "parent">((resolve) => {
    onStopRequests({ onFirst: resolve });
    // `npm start` opens a channel to this process; when it ends, so does this process.
    process.once("disconnect", () => resolve("parent"));
  });
  try {
    const coordinator = await startCoordinator(settings, logger);
    logger.info(
      { grpcPort: coordinator.grpcPort, httpPort: coordinator.httpPort, version: VERSION },
      "coordinator ready",
    );
    process.send?.({ ready: { grpcPort: coordinator.grpcPort, httpPort: coordinator.httpPort } });
    const why = await Promise.race([stop, coordinator.failed]);
    if (typeof why === "string") logger.info({ why }, "stopping");
    else logger.fatal({ code: why.code }, why.message);
    await coordinator.stop();
    logger.info("stopped");
    return typeof why === "string" ? EXIT.clean : EXIT.unavailable;
  } catch (error) {
    if (error instanceof ConfigError) {
      logger.fatal(error.message);
      return EXIT.usage;
    }
    if (error instanceof ComputeError) {
      logger.fatal({ code: error.code }, error.message);
      logger.debug({ err: error }, "the cause");
      return EXIT.unavailable;
    }
    logger.fatal({ err: error }, "the coordinator failed");
    return EXIT.fault;
  }
}

// A worker thread that hangs must not keep a stopped coordinator alive.
process.exit(await main());
