import { cpus } from "node:os";
import { resolve } from "node:path";
import { z } from "zod";
import { hostPort } from "../net/host-port.ts";
import { address, count, duration, flag, list, listener, origin, proxies, url } from "./values.ts";

/** One setting, as it is read and described. */
export interface Setting<T extends z.ZodType> {
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
 * Every setting: environment variable, and flag (`GRPC_ADDRESS` is `--grpc-address`). docs/reference/configuration.md is
 * made from it.
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
    "Name of this coordinator, unique on one MongoDB. Default: coordinator-1, with MongoDB host name and port.",
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
    "JSON-RPC that browsers read units from. Default: the known public one of the chain; on the local chain XDC_RPC_URL, unless user, password, path or query follow in it.",
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
  BATCH_MAX_RECEIPTS: setting(count(1, 50_000), "50000", "Receipts after which a batch closes."),
  BATCH_MAX_PROVIDERS: setting(
    count(1, 500),
    "500",
    "Wallets after which a batch closes; 500 fit XDC's transaction limit.",
  ),
  BATCH_MAX_WAIT: setting(duration, "30s", "Age of the oldest receipt at which a batch closes."),
  BATCH_RESEND_AFTER: setting(
    duration,
    "60s",
    "Wait before a batch that no block includes is sent again with a higher fee.",
  ),
  CHAIN_POLL_INTERVAL: setting(duration, "2s", "How often settlement reads the chain."),
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
  HEARTBEAT_INTERVAL: setting(
    duration,
    "5s",
    "How often nodes report. A node that is silent for 2.5 intervals is suspect.",
  ),
  LEASE_TIME: setting(duration, "30s", "How long a silent node keeps its assignments."),
  DRAIN_TIMEOUT: setting(
    duration,
    "10s",
    "How long the coordinator waits after SIGTERM for results in flight. A daemon reads the same variable.",
  ),
  RECONNECT_SPREAD: setting(
    duration,
    "1s",
    "Minimum time over which nodes spread their reconnects; each node adds 1 ms.",
  ),
  MAX_NODES: setting(count(1, 100_000), "20000", "Sessions at once; more are refused."),
  MAX_ATTEMPTS: setting(count(1, 100), "3", "Nodes that have to fail a task before it fails for good."),
  TASK_DEADLINE: setting(duration, "1h", "Deadline of a task whose request names none."),
  RESULT_RETENTION: setting(
    duration,
    "7d",
    "How long results are kept. Afterwards only their digest remains, and a check computes the work again.",
  ),
  TASK_RETENTION: setting(
    duration,
    "30d",
    "How long ended tasks are kept, at least RESULT_RETENTION. Receipts and batches are kept forever.",
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
    "Memory for outputs that are being uploaded or checked; chunks that wait for it take up to an eighth more.",
  ),
  METRICS_TOKEN: setting(
    z.string().min(16, "at least 16 characters").optional(),
    undefined,
    "Bearer token for /metrics beyond loopback.",
    true,
  ),
  LOG_LEVEL: setting(z.enum(["trace", "debug", "info", "warn", "error", "fatal"]), "info", "Minimum log level."),
  LOG: setting(z.enum(["auto", "pretty", "json"]), "auto", "Format of the log; auto: pretty on a terminal, else json."),
} as const satisfies Record<string, Setting<z.ZodType>>;

export type SettingName = keyof typeof SETTINGS;

/** Validated settings, by name. */
export type Settings = { readonly [K in SettingName]: z.output<(typeof SETTINGS)[K]["schema"]> };

/** `GRPC_ADDRESS` → `--grpc-address`. */
export function flagOf(name: string): string {
  return `--${name.toLowerCase().replaceAll("_", "-")}`;
}
