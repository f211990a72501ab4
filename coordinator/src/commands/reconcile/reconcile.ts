import { setTimeout as sleep } from "node:timers/promises";
import type { Hex } from "@proof-of-compute/proto";
import type { JsonRpcProvider } from "ethers";
import { pino } from "pino";
import { openStore } from "../../compose/open-store.ts";
import type { Store } from "../../ports/store.ts";
import { hasUnfinalBatches, type LedgerSource, openChain, readChainLedger, timeOf } from "./chain.ts";
import { checkBinding, checkDatabase, checkNobodyLives } from "./checks.ts";
import { ReconcileError } from "./errors.ts";
import { fix } from "./fix.ts";
import type { Options, Request } from "./options.ts";
import { compare, newestRecorded, type Report } from "./report.ts";

/** It ends with its process, so it is never long. */
const LOCAL_CHAIN_ID = 31337;
/** How long the newest batches may take to become final, in milliseconds. */
const FINALITY_MS = 60_000;
const POLL_MS = 1_000;

/** Both sides as they are in the end, and where that was read. */
export interface Outcome {
  readonly report: Report;
  readonly where: string;
}

/** Compares store and chain, after changing what `options` ask for; `say` tells of each step. Throws ReconcileError, CannotFix. */
export async function reconcile(options: Options, request: Request, say: (line: string) => void): Promise<Outcome> {
  const { settings, rpcUrl, source } = request;
  if (!options.fix) checkDatabase(settings);
  const { rpc, chainId } = await openChain(rpcUrl);
  if (source.fromBlock === 0 && chainId !== LOCAL_CHAIN_ID) {
    say("PROOF_OF_COMPUTE_BLOCK is not set: reading the events of every block takes long");
  }
  const opened = await openStore(settings, pino({ level: settings.LOG_LEVEL }, pino.destination(2)));
  try {
    const { store } = opened;
    await checkBinding(store, chainId, source, say);
    const report = await act({ store, rpc, chainId, say }, options, request);
    return { report, where: `chain ${chainId}, contract ${source.contract}, as of the final block ${report.block}` };
  } finally {
    await opened.stop();
    rpc.destroy();
  }
}

interface Sides {
  readonly store: Store;
  readonly rpc: JsonRpcProvider;
  readonly chainId: number;
  readonly say: (line: string) => void;
}

async function act({ store, rpc, chainId, say }: Sides, options: Options, request: Request): Promise<Report> {
  const { settings, source, clockMarginMs } = request;
  const acts = options.fix || options.releaseQuarantine !== undefined;
  const lookAgain = acts ? await checkNobodyLives(store, settings, say) : undefined;
  if (options.fix) await untilFinal(rpc, source);
  const recordedBefore = await newestRecorded(store);
  const ledger = await readChainLedger(rpc, source);
  const report = await compare(store, ledger, recordedBefore);
  // Reading took a while, in which a supervisor may have started one.
  await lookAgain?.();
  if (options.fix) {
    // An empty store, or one that never knew its contract, belongs to this one from now on.
    await store.bind({ chainId, address: source.contract }, false);
    await fix({ store, timeOf: (block) => timeOf(rpc, block), say }, { clockMarginMs }, ledger);
  }
  if (options.releaseQuarantine) {
    const count = await release(store, report, options.releaseQuarantine);
    say(`released ${count} receipts: the next batches carry them`);
  }
  return acts ? compare(store, ledger, recordedBefore) : report;
}

/** Batches that are included but not final would stop settlement again at once. */
async function untilFinal(rpc: JsonRpcProvider, source: LedgerSource): Promise<void> {
  for (const until = Date.now() + FINALITY_MS; await hasUnfinalBatches(rpc, source); await sleep(POLL_MS)) {
    if (Date.now() > until) throw new ReconcileError("the newest batches do not become final: try again later");
  }
}

async function release(store: Store, { quarantined }: Report, wanted: readonly string[]): Promise<number> {
  const known = new Set<string>(quarantined.map(({ receiptId }) => receiptId));
  const ids = wanted.includes("all") ? [...known] : wanted.map((id) => id.toLowerCase());
  const strange = ids.find((id) => !known.has(id));
  if (strange !== undefined) throw new ReconcileError(`${strange} is no receipt in quarantine`);
  await store.releaseReceipts(ids as Hex[]);
  return ids.length;
}
