/** `npm run reconcile`: what the store and the chain say of every batch and wallet, and mending where they differ. */
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type Hex, reasonOf } from "@proof-of-compute/proto";
import { Command, CommanderError } from "commander";
import { pino } from "pino";
import { openStore, sqlitePath } from "../../compose/open-store.ts";
import type { Store } from "../../ports/store.ts";
import { SETTINGS, type Settings } from "../../settings/table.ts";
import { hasUnfinalBatches, type LedgerSource, openChain, readChainLedger, timeOf } from "./chain.ts";
import { CannotFix, fix, livingCoordinators } from "./fix.ts";
import { compare, newestRecorded, type Report, render, toJson } from "./report.ts";

const EXIT = { agree: 0, differ: 1, unknown: 2 } as const;
/** It ends with its process, so it is never long. */
const LOCAL_CHAIN_ID = 31337;
/** How long the newest batches may take to become final, in milliseconds. */
const FINALITY_MS = 60_000;

interface Options {
  readonly fix?: true;
  readonly releaseQuarantine?: string[];
  readonly clockMargin: string;
  readonly dataDir?: string;
  readonly fromBlock?: string;
  readonly all?: true;
  readonly json?: true;
}

const program = new Command("reconcile")
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

/** Something that its reader can put right; shown without a stack. */
class ReconcileError extends Error {
  override readonly name = "ReconcileError";
}

type Needed = Pick<
  Settings,
  "DATA_DIR" | "MONGODB_URI" | "LEASE_TIME" | "XDC_RPC_URL" | "PROOF_OF_COMPUTE_ADDRESS" | "LOG_LEVEL"
>;

/** Only what is needed here, so that the recorder's key need not be at hand. */
function readNeeded(environment: NodeJS.ProcessEnv, dataDir: string | undefined): Needed {
  const names = [
    "DATA_DIR",
    "MONGODB_URI",
    "LEASE_TIME",
    "XDC_RPC_URL",
    "PROOF_OF_COMPUTE_ADDRESS",
    "LOG_LEVEL",
  ] as const;
  const given: NodeJS.ProcessEnv = { LOG_LEVEL: "warn", ...environment };
  if (dataDir !== undefined) given.DATA_DIR = dataDir;
  const parsed = names.map((name) => {
    const { schema, default: fallback } = SETTINGS[name];
    const result = schema.safeParse(given[name] || fallback);
    if (!result.success)
      throw new ReconcileError(`${name}: ${result.error.issues.map((issue) => issue.message).join("; ")}`);
    return [name, result.data];
  });
  return Object.fromEntries(parsed) as Needed;
}

function durationOf(text: string): number {
  const parsed = SETTINGS.LEASE_TIME.schema.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new ReconcileError(`--clock-margin is a duration such as 10m, not ${text}`);
}

/** A store that belongs to another contract is not compared with this one. */
async function checkBinding(
  store: Store,
  chainId: number,
  { contract }: LedgerSource,
  say: (line: string) => void,
): Promise<void> {
  const bound = await store.boundTo();
  if (!bound) return say("the store is empty, or was never used with a contract: lost, or not the one you mean?");
  if (bound.chainId === chainId && bound.address === contract) return;
  throw new ReconcileError(
    `the store belongs to ${bound.address} on chain ${bound.chainId}, not to ${contract} on chain ${chainId}: set XDC_RPC_URL and PROOF_OF_COMPUTE_ADDRESS to those`,
  );
}

/** Rejects when a coordinator lives; the returned function looks again, at once. */
async function checkNobodyLives(
  store: Store,
  { MONGODB_URI, LEASE_TIME }: Needed,
  say: (line: string) => void,
): Promise<() => Promise<void>> {
  const known = await store.coordinators();
  const look = async () => {
    const living = await livingCoordinators(store, known);
    if (living.length > 0) throw new ReconcileError(`stop every coordinator first: ${living.join(", ")} lives`);
  };
  // SQLite's own lock keeps everybody out already.
  if (MONGODB_URI !== undefined && known.length > 0) {
    say(`looking for ${LEASE_TIME / 1_000} s whether a coordinator lives`);
    await sleep(LEASE_TIME);
  }
  await look();
  return look;
}

/** Opening makes a database where there is none, and a mistyped folder must not become the one that is mended. */
function checkDatabase({ MONGODB_URI, DATA_DIR }: Needed): void {
  const file = sqlitePath(DATA_DIR);
  if (MONGODB_URI !== undefined || existsSync(file)) return;
  throw new ReconcileError(
    `there is no ${file}: give --data-dir or set DATA_DIR, or MONGODB_URI, as for the coordinator; if that database is lost, --fix makes a new one from the chain`,
  );
}

async function release(store: Store, { quarantined }: Report, wanted: readonly string[]): Promise<number> {
  const known = new Set<string>(quarantined.map(({ receiptId }) => receiptId));
  const ids = wanted.includes("all") ? [...known] : wanted.map((id) => id.toLowerCase());
  const strange = ids.find((id) => !known.has(id));
  if (strange !== undefined) throw new ReconcileError(`${strange} is no receipt in quarantine`);
  await store.releaseReceipts(ids as Hex[]);
  return ids.length;
}

async function reconcile(options: Options): Promise<number> {
  const say = (line: string) => (options.json ? console.error(line) : console.log(line));
  if (options.fix && options.releaseQuarantine) {
    throw new ReconcileError("--fix first; look at what is in quarantine then, and decide");
  }
  const clockMarginMs = durationOf(options.clockMargin);
  if (existsSync(".env")) process.loadEnvFile();
  const settings = readNeeded(process.env, options.dataDir);
  const { XDC_RPC_URL: rpcUrl, PROOF_OF_COMPUTE_ADDRESS: contract } = settings;
  if (!rpcUrl || !contract)
    throw new ReconcileError("set XDC_RPC_URL and PROOF_OF_COMPUTE_ADDRESS, as for the coordinator");
  const fromBlock = Number(options.fromBlock ?? process.env.PROOF_OF_COMPUTE_BLOCK ?? 0);
  if (!Number.isSafeInteger(fromBlock) || fromBlock < 0) throw new ReconcileError("--from-block is a block's number");
  const source = { contract, fromBlock };

  if (!options.fix) checkDatabase(settings);

  const { rpc, chainId } = await openChain(rpcUrl);
  if (fromBlock === 0 && chainId !== LOCAL_CHAIN_ID) {
    say("PROOF_OF_COMPUTE_BLOCK is not set: reading the events of every block takes long");
  }
  const opened = await openStore(settings, pino({ level: settings.LOG_LEVEL }, pino.destination(2)));
  try {
    const { store } = opened;
    await checkBinding(store, chainId, source, say);
    const acts = options.fix || options.releaseQuarantine !== undefined;
    const lookAgain = acts ? await checkNobodyLives(store, settings, say) : undefined;
    if (options.fix) await untilFinal();
    const recordedBefore = await newestRecorded(store);
    const ledger = await readChainLedger(rpc, source);
    let report = await compare(store, ledger, recordedBefore);
    // Reading took a while, in which a supervisor may have started one.
    await lookAgain?.();
    if (options.fix) {
      // An empty store, or one that never knew its contract, belongs to this one from now on.
      await store.bind({ chainId, address: contract }, false);
      await fix({ store, timeOf: (block) => timeOf(rpc, block), say }, { clockMarginMs }, ledger);
    }
    if (options.releaseQuarantine) {
      const count = await release(store, report, options.releaseQuarantine);
      say(`released ${count} receipts: the next batches carry them`);
    }
    if (acts) report = await compare(store, ledger, recordedBefore);
    print(report, options, `chain ${chainId}, contract ${contract}, as of the final block ${report.block}`);
    return report.agree ? EXIT.agree : EXIT.differ;
  } finally {
    await opened.stop();
    rpc.destroy();
  }

  /** What is included but not final would stop settlement again at once. */
  async function untilFinal(): Promise<void> {
    for (const until = Date.now() + FINALITY_MS; await hasUnfinalBatches(rpc, source); await sleep(1_000)) {
      if (Date.now() > until) throw new ReconcileError("the newest batches do not become final: try again later");
    }
  }
}

function print(report: Report, options: Options, where: string): void {
  if (options.json) {
    console.log(toJson(report));
    return;
  }
  console.log([where, "", ...render(report, options.all === true), ""].join("\n"));
  if (report.quarantined.length > 0) {
    console.log(
      "In quarantine is what a batch may carry that this store has lost. Released although it was credited, it is credited\ntwice; kept although it was not, its provider is never paid. docs/reference/reconcile.md\nsays how to decide.\n",
    );
  }
  const advice = options.fix ? "" : " `npm run reconcile -- --fix` mends the store once every coordinator is stopped.";
  console.log(report.agree ? "Both sides agree." : `The two sides do not agree.${advice}`);
}

try {
  program.exitOverride().parse();
  process.exitCode = await reconcile(program.opts<Options>());
} catch (error) {
  process.exitCode = error instanceof CannotFix ? EXIT.differ : EXIT.unknown;
  // Commander has said what is wrong, or shown its help.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT.unknown;
  else console.error(`reconcile: ${reasonOf(error)}`);
}
