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

/** This chain ends with its process, so it has few blocks. */
const LOCAL_CHAIN_ID = 31337;
/** How long the newest batches may take to become final, in milliseconds. */
const FINALITY_MS = 60_000;
const POLL_MS = 1_000;

/** The final comparison, and the chain and block that it is about. */
export interface Outcome {
  readonly report: Report;
  readonly where: string;
}

/**
 * Makes the changes that `options` ask for, and compares store and chain; `say` reports each step. Throws ReconcileError,
 * CannotFix.
 */
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
  // Reading takes a while, and a supervisor may have started a coordinator meanwhile.
  await lookAgain?.();
  if (options.fix) {
    // Binds an empty store, or one that was never bound, to this contract.
    await store.bind({ chainId, address: source.contract }, false);
    await fix({ store, timeOf: (block) => timeOf(rpc, block), say }, { clockMarginMs }, ledger);
  }
  if (options.releaseQuarantine) {
    const count = await release(store, report, options.releaseQuarantine);
    say(`released ${count} receipts: the next batches carry them`);
  }
  return acts ? compare(store, ledger, recordedBefore) : report;
}

/** Waits until all batches are final; others would stop settlement again at once. */
async function untilFinal(rpc: JsonRpcProvider, source: LedgerSource): Promise<void> {
  for (const until = Date.now() + FINALITY_MS; await hasUnfinalBatches(rpc, source); await sleep(POLL_MS)) {
    if (Date.now() > until) throw new ReconcileError("the newest batches are not final yet: try again later");
  }
}

async function release(store: Store, { quarantined }: Report, wanted: readonly string[]): Promise<number> {
  const known = new Set<string>(quarantined.map(({ receiptId }) => receiptId));
  const ids = wanted.includes("all") ? [...known] : wanted.map((id) => id.toLowerCase());
  const strange = ids.find((id) => !known.has(id));
  if (strange !== undefined) throw new ReconcileError(`${strange} is not a receipt in quarantine`);
  await store.releaseReceipts(ids as Hex[]);
  return ids.length;
}
