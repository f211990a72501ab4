import { readFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { type Address, AddressError, fromHex, parseAddress, ZERO_ADDRESS } from "@proof-of-compute/proto";
import type { NodeAuthorization } from "@proof-of-compute/proto/node";
import {
  looksSecret,
  quoted,
  refuseSecretArguments,
  SECRET_REFUSED,
  SecretGiven,
} from "@proof-of-compute/proto/secrets";
import { Command, CommanderError, Option } from "commander";
import { z } from "zod";
import { DaemonError, EXITS } from "./errors.ts";
import { type Endpoint, parseEndpoint } from "./session/endpoint.ts";
import { VERSION } from "./version.ts";

/** Every setting, as a flag and as an environment variable. Defaults are written as a person would type them. */
export const SETTINGS = [
  {
    flag: "--wallet-address <address>",
    env: "WALLET_ADDRESS",
    description: "wallet that earns the units, 0x… or xdc… (required)",
  },
  {
    flag: "--coordinator <host:port>",
    env: "COORDINATOR",
    default: "127.0.0.1:50051",
    description: "coordinator to dial; repeat the option, or separate by commas, for several of one network",
  },
  { flag: "--insecure", env: "DAEMON_INSECURE", description: "dial without TLS beyond this machine too" },
  {
    flag: "--tls-ca <file>",
    env: "TLS_CA",
    description: "PEM file of the authority that signed the coordinator's certificate",
  },
  {
    flag: "--audience <host:port>",
    env: "AUDIENCE",
    description: "name of the coordinator, when a proxy hides it",
  },
  {
    flag: "--authorization <file>",
    env: "NODE_AUTHORIZATION",
    description: "JSON file {issuedAt, expiresAt, signature} of the wallet's NodeAuthorization for this node",
  },
  {
    flag: "--slots <number>",
    env: "SLOTS",
    description: "tasks at once on the processor (default: its cores); a GPU or a model has slots of its own",
  },
  {
    flag: "--measure",
    env: "DAEMON_MEASURE",
    description: "measure this machine's speed again, as the first start does (2 s)",
  },
  {
    flag: "--data-dir <folder>",
    env: "DAEMON_DATA_DIR",
    default: ".data/daemon",
    description: "node key, unacknowledged results and cached content; one daemon per folder",
  },
  {
    flag: "--memory <size>",
    env: "TASK_MEMORY",
    description: "main memory for running tasks, such as 512M or 4G (default: half of the machine's)",
  },
  {
    flag: "--outbox-max-bytes <size>",
    env: "OUTBOX_MAX_BYTES",
    default: "1G",
    description: "disk space for results without a verdict; when it is full, the daemon takes no tasks",
  },
  {
    flag: "--blob-cache <size>",
    env: "BLOB_CACHE",
    default: "1G",
    description: "disk space for content that tasks name, kept for later tasks",
  },
  {
    flag: "--drain-timeout <time>",
    env: "DRAIN_TIMEOUT",
    default: "30s",
    description: "how long running tasks may take to finish after SIGTERM; a coordinator reads the same variable",
  },
  {
    flag: "--rpc-url <url>",
    env: "RPC_URL",
    description: "JSON-RPC of the chain, to show recorded units (default: the public one of the coordinator's chain)",
  },
  {
    flag: "--log <format>",
    env: "LOG_FORMAT",
    default: "pretty",
    description: "pretty (a live view in a terminal) or json (for services)",
  },
  {
    flag: "--log-level <level>",
    env: "LOG_LEVEL",
    default: "info",
    description: "fatal, error, warn, info, debug or trace",
  },
] as const satisfies readonly Setting[];

interface Setting {
  readonly flag: string;
  readonly env: string;
  readonly default?: string;
  readonly description: string;
}

/** The settings, checked and complete. */
export interface Config {
  readonly wallet: Address;
  readonly coordinators: readonly Endpoint[];
  readonly slots: number;
  /** Measure the machine even though its rate is known. */
  readonly measure: boolean;
  readonly dataDir: string;
  readonly memoryBytes: number;
  readonly outboxMaxBytes: number;
  readonly blobCacheBytes: number;
  readonly drainTimeoutMs: number;
  readonly authorization?: NodeAuthorization;
  readonly rpcUrl?: string;
  readonly log: "pretty" | "json";
  readonly logLevel: string;
}

const SIZE_UNITS: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const TIME_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** A timer of 2^31 ms or more fires at once. */
const MAX_TIME_MS = 24 * 86_400_000;

const size = z.string().transform((text, context) => {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(text) ?? [];
  if (number !== undefined) return Math.floor(Number(number) * SIZE_UNITS[unit!.toUpperCase()]!);
  context.addIssue(`${quoted(text)} is not a size such as 512M or 4G`);
  return z.NEVER;
});

const time = z.string().transform((text, context) => {
  const [, number, unit] = /^(\d+)\s*(ms|s|m|h|d)$/i.exec(text) ?? [];
  const ms = Number(number) * TIME_UNITS[unit?.toLowerCase() ?? ""]!;
  if (ms <= MAX_TIME_MS) return ms;
  context.addIssue(
    ms > MAX_TIME_MS ? `${quoted(text)} is longer than 24d` : `${quoted(text)} is not a time such as 30s or 2m`,
  );
  return z.NEVER;
});

const wallet = z.string({ error: "is missing: give the wallet that earns, 0x… or xdc…" }).transform((text, context) => {
  try {
    const address = parseAddress(text);
    if (address !== ZERO_ADDRESS) return address;
    context.addIssue("is the zero address, which nobody owns: give the wallet that earns");
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    context.addIssue(`${quoted(text)} is not a wallet address: ${error.message}`);
  }
  return z.NEVER;
});

const file = z.string().transform((path, context) => {
  try {
    return readFileSync(path);
  } catch (error) {
    context.addIssue(`cannot be read: ${(error as Error).message}`);
    return z.NEVER;
  }
});

const authorization = file.transform((content, context): NodeAuthorization => {
  try {
    const { issuedAt, expiresAt, signature } = z
      .object({ issuedAt: z.coerce.bigint(), expiresAt: z.coerce.bigint(), signature: z.string() })
      .parse(JSON.parse(content.toString()));
    return { issuedAt, expiresAt, signature: fromHex(signature) };
  } catch {
    context.addIssue("is not a JSON file with issuedAt, expiresAt (seconds since 1970) and signature (0x…)");
    return z.NEVER;
  }
});

const oneOf = <const T extends string>(...names: T[]) => z.enum(names, { error: `is one of ${names.join(", ")}` });

const SCHEMA = z.object({
  walletAddress: wallet,
  coordinator: z.array(z.string()).min(1, "names no coordinator"),
  insecure: z.union([z.boolean(), z.stringbool({ error: "is true or false" })]).default(false),
  tlsCa: file.optional(),
  audience: z.string().min(1, "is empty").max(0xffff, "is longer than 65535 characters").optional(),
  authorization: authorization.optional(),
  slots: z.coerce
    .number({ error: "is a whole number from 1 to 1024" })
    .int("is a whole number from 1 to 1024")
    .min(1, "is at least 1")
    .max(1024, "is at most 1024")
    .default(Math.min(availableParallelism(), 1024)),
  measure: z.union([z.boolean(), z.stringbool({ error: "is true or false" })]).default(false),
  dataDir: z.string().min(1, "is empty"),
  memory: size.default(Math.floor(totalmem() / 2)),
  outboxMaxBytes: size,
  blobCache: size,
  drainTimeout: time,
  rpcUrl: z.url({ protocol: /^https?$/, error: "is an http:// or https:// address" }).optional(),
  log: oneOf("pretty", "json"),
  logLevel: oneOf("fatal", "error", "warn", "info", "debug", "trace"),
});

/** The command line as commander knows it. */
export function commandLine(): Command {
  const command = new Command("proof-of-compute-daemon")
    .description(
      "Puts this machine to work for a Proof of Compute network and earns compute units for checked results.",
    )
    .version(VERSION)
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .configureHelp({ helpWidth: 100 });
  for (const setting of SETTINGS as readonly Setting[]) {
    const option = new Option(setting.flag, setting.description);
    // An empty variable, as in a copied .env, counts as unset.
    if (process.env[setting.env] !== "") option.env(setting.env);
    if (setting.env === "COORDINATOR") {
      const fallback = [setting.default!];
      option.default(fallback, setting.default).argParser(collect(fallback));
    } else if (setting.default !== undefined) {
      option.default(setting.default);
    }
    command.addOption(option);
  }
  command.addOption(new Option("--roxonn-wallet-address <address>", "the same as --wallet-address"));
  command.addHelpText(
    "after",
    [
      "",
      "Examples:",
      "  npm run daemon -- --wallet-address 0x71C7656EC7ab88b098defB751B7401B5f6d8976F",
      "  npm run daemon -- --wallet-address xdc71C7656EC7ab88b098defB751B7401B5f6d8976F \\",
      "    --coordinator compute.example.org:50051 --slots 4",
      "",
      "Exit codes:",
      ...Object.values(EXITS).map(({ code, meaning }) => `  ${code}  ${meaning}`),
      "  130, 143  a second SIGINT or SIGTERM ended it at once",
    ].join("\n"),
  );
  return command;
}

/** The first value replaces the default; later ones are added. */
function collect(fallback: readonly string[]) {
  return (text: string, previous: readonly string[]) => {
    const given = text
      .split(",")
      .map((each) => each.trim())
      .filter((each) => each !== "");
    return previous === fallback ? given : [...previous, ...given];
  };
}

/**
 * Reads command line and environment. Returns null after printing help or the version. Throws a
 * {@link DaemonError} (USAGE) that names the setting and what is wrong with it.
 */
export function readConfig(args: readonly string[]): Config | null {
  const command = commandLine();
  try {
    refuseSecretArguments(args);
    command.parse(args, { from: "user" });
  } catch (error) {
    if (error instanceof SecretGiven) throw new DaemonError("USAGE", error.message);
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return null;
    throw new DaemonError("USAGE", error.message.replace(/^error: /, ""), { cause: error });
  }
  const { roxonnWalletAddress, ...given } = command.opts();
  for (const option of command.options) {
    const name = option.attributeName();
    // Commander reads any value of a switch's variable as true.
    if (option.isBoolean() && command.getOptionValueSource(name) === "env") given[name] = process.env[option.envVar!];
  }
  for (const [name, value] of Object.entries(given)) {
    if ([value].flat().some((each) => typeof each === "string" && looksSecret(each))) throw usage(name, SECRET_REFUSED);
  }
  const parsed = SCHEMA.safeParse({ ...given, walletAddress: given.walletAddress ?? roxonnWalletAddress });
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw usage(String(issue.path[0]), issue.message);
  }
  const settings = parsed.data;
  return {
    wallet: settings.walletAddress,
    coordinators: endpoints(settings),
    slots: settings.slots,
    measure: settings.measure,
    dataDir: settings.dataDir,
    memoryBytes: settings.memory,
    outboxMaxBytes: settings.outboxMaxBytes,
    blobCacheBytes: settings.blobCache,
    drainTimeoutMs: settings.drainTimeout,
    ...(settings.authorization && { authorization: settings.authorization }),
    ...(settings.rpcUrl !== undefined && { rpcUrl: settings.rpcUrl }),
    log: settings.log,
    logLevel: settings.logLevel,
  };
}

function endpoints({ coordinator, insecure, tlsCa, audience }: z.output<typeof SCHEMA>): Endpoint[] {
  try {
    return coordinator.map((text) =>
      parseEndpoint(text, { insecure, ...(tlsCa && { tlsCa }), ...(audience !== undefined && { audience }) }),
    );
  } catch (error) {
    throw usage("coordinator", (error as Error).message, error);
  }
}

function usage(name: string, message: string, cause?: unknown): DaemonError {
  const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return new DaemonError("USAGE", `--${flag} ${message}`, { cause });
}
