/** The flags of `npm run reconcile`, and the settings of the coordinator that it reads. */
import { looksSecret, quoted, SECRET_REFUSED } from "@proof-of-compute/proto/secrets";
import { Command } from "commander";
import type { z } from "zod";
import { SETTINGS, type Setting, type Settings } from "../../settings/table.ts";
import type { LedgerSource } from "./chain.ts";
import { ReconcileError } from "./errors.ts";

/** The flags, as commander returns them. */
export interface Options {
  readonly fix?: true;
  readonly releaseQuarantine?: string[];
  readonly clockMargin: string;
  readonly dataDir?: string;
  readonly fromBlock?: string;
  readonly all?: true;
  readonly json?: true;
}

/** The command with its flags and its help. */
export function createProgram(): Command {
  return new Command("reconcile")
    .description("Compares what the store and the chain say of every batch and wallet. Changes nothing unless told to.")
    .option("--fix", "mend the store: batches that it lacks are found again or imported, contradicted ones withdrawn")
    .option(
      "--release-quarantine <receipts...>",
      "let batches carry these receipts again, or `all`; an operator decides that, see docs/reference/reconcile.md",
    )
    .option("--clock-margin <duration>", "by how much a coordinator's clock may have been ahead of the chain's", "10m")
    .option("--data-dir <path>", "folder of the SQLite store (default: DATA_DIR)")
    .option("--from-block <number>", "block of the deployment (default: PROOF_OF_COMPUTE_BLOCK, else 0)")
    .option("--all", "print rows that agree too, however many there are")
    .option("--json", "print one JSON document instead")
    .addHelpText(
      "after",
      `
From the environment or .env, as for the coordinator:
  XDC_RPC_URL, PROOF_OF_COMPUTE_ADDRESS, PROOF_OF_COMPUTE_BLOCK   the chain's side; nothing is sent there
  MONGODB_URI or DATA_DIR                                         the store's side
A SQLite store can be read only while its coordinator is stopped, and any store be changed only while all are.

Exit codes: 0 both sides agree, 1 they do not, 2 something could not be read or done.`,
    );
}

const NEEDED = [
  "DATA_DIR",
  "MONGODB_URI",
  "LEASE_TIME",
  "XDC_RPC_URL",
  "PROOF_OF_COMPUTE_ADDRESS",
  "LOG_LEVEL",
] as const satisfies readonly (keyof Settings)[];

/** The settings that the command reads. It needs no recorder key. */
export type Needed = Pick<Settings, (typeof NEEDED)[number]>;

/** What to compare, and what to change. */
export interface Request {
  readonly settings: Needed;
  readonly rpcUrl: string;
  readonly source: LedgerSource;
  readonly clockMarginMs: number;
}

/** Reads flags over the environment. Throws {@link ReconcileError} for a wrong one. */
export function readRequest(options: Options, environment: NodeJS.ProcessEnv): Request {
  if (options.fix && options.releaseQuarantine) {
    throw new ReconcileError("--fix first; look at what is in quarantine then, and decide");
  }
  const clockMarginMs = readClockMargin(options.clockMargin);
  const settings = readNeeded(environment, options.dataDir);
  const { XDC_RPC_URL: rpcUrl, PROOF_OF_COMPUTE_ADDRESS: contract } = settings;
  if (!rpcUrl || !contract) {
    throw new ReconcileError("set XDC_RPC_URL and PROOF_OF_COMPUTE_ADDRESS, as for the coordinator");
  }
  const fromBlock = Number(options.fromBlock ?? environment.PROOF_OF_COMPUTE_BLOCK ?? 0);
  if (!Number.isSafeInteger(fromBlock) || fromBlock < 0) throw new ReconcileError("--from-block is a block's number");
  return { settings, rpcUrl, source: { contract, fromBlock }, clockMarginMs };
}

function readNeeded(environment: NodeJS.ProcessEnv, dataDir: string | undefined): Needed {
  const given: NodeJS.ProcessEnv = { LOG_LEVEL: "warn", ...environment };
  if (dataDir !== undefined) given.DATA_DIR = dataDir;
  const parsed = NEEDED.map((name) => {
    const { schema, default: fallback, secret } = SETTINGS[name] as Setting<z.ZodType>;
    if (!secret && looksSecret(given[name] ?? "")) throw new ReconcileError(`${name}: ${SECRET_REFUSED}`);
    const result = schema.safeParse(given[name] || fallback);
    if (result.success) return [name, result.data];
    throw new ReconcileError(`${name}: ${result.error.issues.map((issue) => issue.message).join("; ")}`);
  });
  return Object.fromEntries(parsed) as Needed;
}

function readClockMargin(text: string): number {
  const parsed = SETTINGS.LEASE_TIME.schema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new ReconcileError(`--clock-margin is a duration such as 10m, not ${quoted(text)}`);
}
