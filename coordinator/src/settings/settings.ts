import { cpus } from "node:os";
import { resolve } from "node:path";
import { type Address, networkByChainId, parseAddress } from "@proof-of-compute/proto";
import { Command } from "commander";
import { z } from "zod";

/** A host and a port, as a server listens on them or a client dials them. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const duration = z.string().transform((text, context) => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  if (!match) {
    context.addIssue({ code: "custom", message: 'a duration such as "500ms", "30s", "5m", "1h" or "7d"' });
    return z.NEVER;
  }
  return Number(match[1]) * UNITS[match[2]!]!;
});

const listener = z.string().transform((text, context): HostPort => {
  const match = /^(?:\[([0-9a-f:]+)\]|([^:\s]+)):(\d{1,5})$/i.exec(text);
  if (!match || Number(match[3]) > 65_535) {
    context.addIssue({ code: "custom", message: 'an address such as "127.0.0.1:50051" or "[::1]:3000"' });
    return z.NEVER;
  }
  return { host: (match[1] ?? match[2])!, port: Number(match[3]) };
});

/** `host:port`, with brackets around IPv6. */
export function hostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

const address = z.string().transform((text, context): Address => {
  try {
    return parseAddress(text);
  } catch (error) {
    context.addIssue({ code: "custom", message: (error as Error).message });
    return z.NEVER;
  }
});

const flag = z.enum(["true", "false"], { error: "true or false" }).transform((text) => text === "true");
const count = (min: number, max: number) => {
  const error = `a whole number from ${min} to ${max}`;
  return z.coerce.number({ error }).refine((number) => Number.isInteger(number) && number >= min && number <= max, {
    error,
  });
};
const list = <T extends z.ZodType<unknown, string>>(item: T) =>
  z
    .string()
    .transform((text) => text.split(",").flatMap((part) => part.trim() || []))
    .pipe(z.array(item));
const network = z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()]);
/** Proxies in front: how many, or whose addresses. Not all addresses: then a client would choose its own. */
const proxies = z.string().transform((text, context): number | string[] => {
  if (text === "true" || text === "false") return text === "true" ? 1 : 0;
  if (/^\d{1,2}$/.test(text)) return Number(text);
  const addresses = text.split(",").map((part) => part.trim());
  if (addresses.every((part) => network.safeParse(part).success && !part.endsWith("/0"))) return addresses;
  const message = 'true, false, how many proxies, or their addresses such as "10.0.0.0/8, ::1"';
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});
const url = z.url({ protocol: /^https?$/, error: 'a URL such as "https://rpc.example"' });
/** Scheme, host and port as browsers write them. */
const origin = z.string().transform((text, context) => {
  const { origin, protocol, href } = URL.parse(text) ?? {};
  if (/^https?:$/.test(protocol ?? "") && href === `${origin}/`) return origin!;
  context.addIssue({ code: "custom", message: `an origin such as "https://hub.example", not ${JSON.stringify(text)}` });
  return z.NEVER;
});

interface Setting<T extends z.ZodType> {
  readonly schema: T;
  /** Text form; undefined: not set. */
  readonly default: string | undefined;
  readonly description: string;
  /** Read from the environment only, so that it never stands in a process list; never logged. */
  readonly secret?: true;
}

function setting<T extends z.ZodType>(
  schema: T,
  defaultText: string | undefined,
  description: string,
  secret?: true,
): Setting<T> {
  return { schema, default: defaultText, description, ...(secret && { secret }) };
}

/**
 * Every setting: environment variable, and flag (`GRPC_ADDRESS` is `--grpc-address`). docs/reference/configuration.md is made
 * from it.
 */
export const SETTINGS = {
  GRPC_ADDRESS: setting(listener, "127.0.0.1:50051", "Where nodes connect."),
  HTTP_ADDRESS: setting(listener, "127.0.0.1:3000", "Where the REST facade and the hub are served."),
  DATA_DIR: setting(
    z
      .string()
      .min(1)
      .transform((path) => resolve(path)),
    ".data",
    "SQLite database and outputs; unused with MongoDB. One coordinator at a time uses it.",
  ),
  MONGODB_URI: setting(
    z
      .string()
      .regex(/^mongodb(\+srv)?:\/\//, 'a URI such as "mongodb://host:27017/proof_of_compute?replicaSet=rs0"')
      .optional(),
    undefined,
    "MongoDB (7 or 8, a replica set or sharded cluster) instead of SQLite; several coordinators may share it.",
    true,
  ),
  COORDINATOR_ID: setting(
    z
      .string()
      .regex(/^[\w.-]{1,64}$/, "1 to 64 letters, digits, dots, hyphens or underscores")
      .optional(),
    undefined,
    "Name of this coordinator; no two on one MongoDB have the same. Default: coordinator-1, with MongoDB host name and port.",
  ),
  PEER_ADDRESS: setting(
    url.optional(),
    undefined,
    "URL at which the other coordinators on the same MongoDB reach this one's HTTP_ADDRESS. Default: HTTP_ADDRESS itself.",
  ),
  XDC_RPC_URL: setting(
    url.optional(),
    undefined,
    "JSON-RPC of the chain. Unset: receipts accumulate, settlement is off.",
    true,
  ),
  PUBLIC_RPC_URL: setting(
    url.optional(),
    undefined,
    "JSON-RPC that browsers read units from. Default: the known public one of the chain; on the local chain XDC_RPC_URL.",
  ),
  PROOF_OF_COMPUTE_ADDRESS: setting(
    address.optional(),
    undefined,
    "The deployed contract; `npm run deploy` writes it to `.env`.",
  ),
  RECORDER_PRIVATE_KEY: setting(
    z
      .string()
      .regex(/^0x[0-9a-fA-F]{64}$/, "0x and 64 hex digits")
      .optional(),
    undefined,
    "Key that signs batches. Prefer RECORDER_KEYSTORE.",
    true,
  ),
  RECORDER_KEYSTORE: setting(
    z.string().optional(),
    undefined,
    "File with that key: a Web3 keystore (JSON, with RECORDER_KEYSTORE_PASSWORD) or 0x and 64 hex digits; mode 0600.",
  ),
  RECORDER_KEYSTORE_PASSWORD: setting(z.string().optional(), undefined, "Password of a Web3 keystore.", true),
  REBIND: setting(
    flag,
    "false",
    "Let a store that belongs to another chain or contract be used with this one, while it holds no task.",
  ),
  BATCH_MAX_RECEIPTS: setting(count(1, 50_000), "50000", "A batch closes with so many receipts."),
  BATCH_MAX_PROVIDERS: setting(
    count(1, 500),
    "500",
    "A batch closes with so many wallets; 500 fit XDC's transaction limit.",
  ),
  BATCH_MAX_WAIT: setting(duration, "30s", "A batch closes when its oldest receipt is so old."),
  BATCH_RESEND_AFTER: setting(duration, "60s", "A batch that is not included by then is sent again with a higher fee."),
  CHAIN_POLL_INTERVAL: setting(duration, "2s", "How often settlement looks at the chain."),
  GRPC_AUDIENCES: setting(
    list(listener.transform(hostPort)).optional(),
    undefined,
    "Names (host:port, comma-separated) that nodes may dial. Default: GRPC_ADDRESS, its localhost forms and PUBLIC_GRPC_ADDRESS.",
  ),
  PUBLIC_GRPC_ADDRESS: setting(
    listener.transform(hostPort).optional(),
    undefined,
    "host:port that providers are told to dial. Default: GRPC_ADDRESS, which nobody can dial from elsewhere if it is 0.0.0.0 or [::].",
  ),
  PUBLIC_ORIGINS: setting(
    list(origin).optional(),
    undefined,
    "Origins of the hub (https://hub.example, comma-separated). Default: HTTP_ADDRESS and its localhost forms.",
  ),
  TLS_CERT: setting(z.string().optional(), undefined, "PEM certificate chain for the node stream."),
  TLS_KEY: setting(z.string().optional(), undefined, "PEM key of TLS_CERT; mode 0600."),
  INSECURE: setting(flag, "false", "Allow listening beyond loopback without TLS (behind a proxy that has it)."),
  TRUST_PROXY: setting(
    proxies,
    "false",
    "Whose X-Forwarded-* headers are believed: true (one proxy in front), how many in a row, or their addresses (CIDR too, comma-separated).",
  ),
  HEARTBEAT_INTERVAL: setting(duration, "5s", "How often nodes report. 2.5 missed: suspect."),
  LEASE_TIME: setting(duration, "30s", "How long a silent node keeps its assignments."),
  DRAIN_TIMEOUT: setting(
    duration,
    "10s",
    "How long SIGTERM waits for results in flight. A daemon reads the same variable.",
  ),
  RECONNECT_SPREAD: setting(
    duration,
    "1s",
    "Least time over which nodes spread their reconnects; 1 ms a node is added.",
  ),
  MAX_NODES: setting(count(1, 100_000), "20000", "Sessions at once; more are refused."),
  MAX_ATTEMPTS: setting(count(1, 100), "3", "A task fails for good once so many nodes failed at it."),
  TASK_DEADLINE: setting(duration, "1h", "Deadline of a task whose request names none."),
  RESULT_RETENTION: setting(
    duration,
    "7d",
    "How long results are kept; then only their digest, and the work is checked by computing it again.",
  ),
  TASK_RETENTION: setting(
    duration,
    "30d",
    "How long ended tasks are kept, RESULT_RETENTION at least. Receipts and batches are kept for ever.",
  ),
  MAX_QUEUED_TASKS: setting(count(1, 10_000_000), "100000", "Tasks that may wait; more are refused with QUEUE_FULL."),
  MAX_QUEUED_PER_REQUESTER: setting(
    count(1, 10_000_000),
    "50000",
    "Tasks of one wallet that may wait; more are refused with QUEUE_FULL.",
  ),
  ALLOW_SELF_TASKS: setting(flag, "true", "Whether a wallet's own nodes may do its tasks."),
  REQUIRE_NODE_AUTHORIZATION: setting(flag, "false", "Refuse nodes whose wallet did not sign a NodeAuthorization."),
  VERIFIER_THREADS: setting(
    count(1, 256),
    String(Math.max(1, cpus().length - 1)),
    "Worker threads that check results.",
  ),
  UPLOAD_MAX_BYTES: setting(
    count(16_777_216, 2 ** 40),
    String(512 * 2 ** 20),
    "Memory for outputs that are being uploaded or checked.",
  ),
  METRICS_TOKEN: setting(
    z.string().min(16, "at least 16 characters").optional(),
    undefined,
    "Bearer token for /metrics beyond loopback.",
    true,
  ),
  LOG_LEVEL: setting(
    z.enum(["trace", "debug", "info", "warn", "error", "fatal"]),
    "info",
    "Least level that is logged.",
  ),
  LOG: setting(z.enum(["auto", "pretty", "json"]), "auto", "Form of the log; auto: pretty on a terminal, else json."),
} as const satisfies Record<string, Setting<z.ZodType>>;

type SettingName = keyof typeof SETTINGS;

/** Validated settings, by name. */
export type Settings = { readonly [K in SettingName]: z.output<(typeof SETTINGS)[K]["schema"]> };

/** A problem with the settings; `message` has one line a problem. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** `GRPC_ADDRESS` → `--grpc-address`. */
export function flagOf(name: string): string {
  return `--${name.toLowerCase().replaceAll("_", "-")}`;
}

/** Whether it stands for every address of the machine, which nobody can dial. */
export function isAnywhere(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

/** Validates settings in text form, fills defaults, and checks what only shows together. Throws {@link ConfigError}. */
export function resolveSettings(text: Readonly<Record<string, string | undefined>>): Settings {
  const problems: string[] = [];
  const settings: Record<string, unknown> = {};
  for (const [name, { schema, default: fallback, secret }] of Object.entries<Setting<z.ZodType>>(SETTINGS)) {
    const given = text[name];
    const parsed = schema.safeParse(given === undefined || given === "" ? fallback : given);
    if (parsed.success) settings[name] = parsed.data;
    else {
      const known = secret ? name : `${name} (${flagOf(name)})`;
      problems.push(`${known}: ${parsed.error.issues.map((issue) => issue.message).join("; ")}`);
    }
  }
  if (problems.length === 0) problems.push(...crossCheck(settings as Settings));
  if (problems.length > 0) throw new ConfigError(problems.join("\n"));
  return settings as Settings;
}

function crossCheck(settings: Settings): string[] {
  const problems: string[] = [];
  if ((settings.TLS_CERT === undefined) !== (settings.TLS_KEY === undefined)) {
    problems.push("TLS_CERT and TLS_KEY go together");
  }
  if (!settings.INSECURE && settings.TLS_CERT === undefined && !isLoopback(settings.GRPC_ADDRESS.host)) {
    problems.push(
      `GRPC_ADDRESS ${settings.GRPC_ADDRESS.host} is beyond loopback: set TLS_CERT and TLS_KEY, or --insecure`,
    );
  }
  if (!settings.INSECURE && !isLoopback(settings.HTTP_ADDRESS.host)) {
    problems.push(
      `HTTP_ADDRESS ${settings.HTTP_ADDRESS.host} is beyond loopback: keep it there behind a proxy with TLS, or --insecure`,
    );
  }
  const chain = [
    settings.XDC_RPC_URL,
    settings.PROOF_OF_COMPUTE_ADDRESS,
    settings.RECORDER_PRIVATE_KEY ?? settings.RECORDER_KEYSTORE,
  ];
  if (settings.XDC_RPC_URL !== undefined && chain.includes(undefined)) {
    problems.push(
      "XDC_RPC_URL needs PROOF_OF_COMPUTE_ADDRESS and RECORDER_KEYSTORE (or RECORDER_PRIVATE_KEY) beside it",
    );
  }
  return problems;
}

/** Reads flags over the environment. Prints help or a usage error, and exits, as commander does. */
export function readSettings(argv: readonly string[], environment: NodeJS.ProcessEnv, version: string): Settings {
  const program = new Command("coordinator")
    .description(
      "Coordinator of the Proof of Compute network: gives tasks to nodes, checks results, records units on-chain.",
    )
    .version(version)
    .addHelpText(
      "after",
      "\nEvery setting is also an environment variable; secrets are that only. See docs/reference/configuration.md.",
    );
  for (const [name, entry] of Object.entries(SETTINGS) as [SettingName, Setting<z.ZodType>][]) {
    if (entry.secret) continue;
    const isFlag = entry.default === "true" || entry.default === "false";
    const shown = entry.default === undefined ? "" : ` (default ${entry.default})`;
    program.option(`${flagOf(name)} ${isFlag ? "[true|false]" : "<value>"}`, `${entry.description}${shown} [${name}]`);
  }
  program.parse(argv as string[]);
  const options = program.opts<Record<string, string | true>>();
  const text: Record<string, string | undefined> = {};
  for (const name of Object.keys(SETTINGS)) {
    const key = name.toLowerCase().replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const given = options[key];
    text[name] = given === undefined ? environment[name] : String(given);
  }
  return resolveSettings(text);
}

/** The other forms under which the same listener can be dialled from its own machine. */
export function localForms({ host, port }: HostPort): string[] {
  const bare = hostPort({ host, port });
  return isLoopback(host) || isAnywhere(host)
    ? [bare, `127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`]
    : [bare];
}

/**
 * host:port that providers are told to dial; `wanted`: PUBLIC_GRPC_ADDRESS is, since other machines cannot dial that.
 * `port` is the bound one.
 */
export function publicGrpcAddress(
  { PUBLIC_GRPC_ADDRESS, GRPC_ADDRESS: { host } }: Settings,
  port: number,
): { readonly address: string; readonly wanted: boolean } {
  return {
    address: PUBLIC_GRPC_ADDRESS ?? hostPort({ host, port }),
    wanted: isAnywhere(host) && PUBLIC_GRPC_ADDRESS === undefined,
  };
}

/** The RPC that may be told to browsers: never XDC_RPC_URL of a public chain, which may carry an API key. */
export function publicRpcUrl(settings: Settings, chainId: number | undefined): string | undefined {
  if (settings.PUBLIC_RPC_URL !== undefined) return settings.PUBLIC_RPC_URL;
  const known = chainId === undefined ? undefined : networkByChainId(chainId);
  if (known?.name === "local") return settings.XDC_RPC_URL;
  return known?.rpcUrl;
}
