/** What `npm run reconcile -- --fix` changes in the store; never anything on the chain. */
import { type Address, type Hex, receiptTree } from "@proof-of-compute/proto";
import { type Batch, LEAF_KINDS, leafOf } from "../../domain/batch.ts";
import { type CoordinatorRecord, isSameOwner } from "../../domain/owner.ts";
import type { Receipt } from "../../domain/receipt.ts";
import { endAssignment, liveAssignment, type Task } from "../../domain/task.ts";
import type { Store } from "../../ports/store.ts";
import type { ChainLedger, RecordedBatch } from "./chain.ts";
import { readAll } from "./report.ts";

/** More receipts than any store has. */
const EVERY = 2 ** 31 - 1;

/** What mending needs. */
export interface FixComponents {
  readonly store: Store;
  /** When a block was made, in milliseconds since 1970. */
  readonly timeOf: (block: number) => Promise<number>;
  /** Told of each step once it is durable. */
  readonly say: (line: string) => void;
}

/** How careful to be. */
export interface FixInit {
  /**
   * Milliseconds by which a coordinator's clock may have been ahead of the chain's. Receipts accepted before a lost batch's
   * block and so much more may be in that batch.
   */
  readonly clockMarginMs: number;
}

/** The store says that something is final which the chain denies: no change of the store is right then. */
export class CannotFix extends Error {
  override readonly name = "CannotFix";
}

/**
 * Brings the store to what the chain holds. Ended at any line and run again it comes to the same: attempts end and receipts
 * go into quarantine *before* the batch is stored that makes settlement go on, and until the last batch is stored settlement
 * stops at the gap. Throws {@link CannotFix}.
 */
export async function fix(components: FixComponents, init: FixInit, ledger: ChainLedger): Promise<void> {
  const { store, say } = components;
  await withdrawContradicted(components, ledger);
  const [newest] = (await store.batches({ limit: 1 })).items;
  const missing = ledger.batches.slice(newest?.id ?? 0);
  if (missing.length === 0) return;
  let candidates = new Candidates(await readUnbatched(store));
  for (const recorded of missing) {
    const at = await components.timeOf(recorded.block);
    const receipts = candidates.find(recorded);
    if (receipts) {
      await store.releaseReceipts(receipts.filter(({ quarantined }) => quarantined).map(({ receiptId }) => receiptId));
      await insert(store, { ...batchOf(recorded, at), receiptIds: receipts.map(({ receiptId }) => receiptId) });
      candidates.remove(receipts);
      say(`batch ${recorded.id}: found its ${receipts.length} receipts, which make its root; stored as it was`);
      continue;
    }
    const before = at + init.clockMarginMs;
    // First, and whoever works on the store meanwhile: an attempt that has ended takes no result, and the receipt of one that
    // took it before is among those that are read now.
    const ended = await endAttempts(store, before);
    if (ended > 0) say(`batch ${recorded.id}: ended ${ended} attempts whose result may be in it`);
    candidates = new Candidates(await readUnbatched(store));
    const quarantined = await store.quarantineReceipts(candidates.acceptedUntil(before));
    if (quarantined > 0) say(`batch ${recorded.id}: ${quarantined} receipts may be in it, and go into quarantine`);
    await insert(store, { ...batchOf(recorded, at), receiptIds: [], imported: true });
    say(`batch ${recorded.id}: imported from the chain, without its receipts`);
  }
}

/** Takes back the newest batches down to the first that the chain holds with another root. */
async function withdrawContradicted({ store, say }: FixComponents, ledger: ChainLedger): Promise<void> {
  const stored = await readAll((query) => store.batches(query));
  const first = stored.findLast(({ id, root }) => ledger.batches[id - 1] && ledger.batches[id - 1]!.root !== root);
  if (!first) return;
  const above = stored.filter(({ id }) => id >= first.id);
  const final = above.find(({ state }) => state === "recorded");
  if (final) {
    throw new CannotFix(
      `batch ${final.id} is recorded in the store, and batch ${first.id} is another one on the chain: is this the chain and the contract that the store belongs to?`,
    );
  }
  // Newest first, as they are listed.
  for (const { id, state } of above) {
    if (state !== "closed") await store.updateBatch(id, { state: "closed" });
    if (!(await store.withdrawBatch(id))) throw new CannotFix(`batch ${id} cannot be withdrawn`);
    say(`batch ${id}: withdrawn, because the chain holds another batch ${first.id}; its receipts are free`);
  }
}

async function insert(store: Store, batch: Batch): Promise<void> {
  const { id, state, transaction, block } = batch;
  const inserted = await store.insertBatch(batch.imported ? batch : { ...batch, state: "closed" });
  if (!inserted) throw new CannotFix(`batch ${id} cannot be stored: somebody else changes the store; try again`);
  // Ended before this, settlement does the same.
  await store.updateBatch(id, { state, ...(transaction && { transaction }), ...(block !== undefined && { block }) });
}

function batchOf({ id, root, units, credits, transaction, block }: RecordedBatch, closedAt: number) {
  return { id, root, units, credits, transaction, block, closedAt, state: "recorded" as const };
}

/** What a lost batch may carry. Throws {@link CannotFix} when this version cannot write all of it into a leaf. */
async function readUnbatched(store: Store): Promise<Receipt[]> {
  const quarantined = await readAll((query) => store.receipts({ ...query, quarantined: true }));
  const receipts = [...(await store.unbatchedReceipts(EVERY)), ...quarantined];
  const unknown = receipts.find(({ kind }) => !LEAF_KINDS.includes(kind));
  if (!unknown) return receipts;
  throw new CannotFix(
    `receipt ${unknown.receiptId} is of kind ${unknown.kind}, which this version does not know: use the newest version that ran on this store`,
  );
}

/** Receipts that a lost batch may carry, by wallet, oldest first. */
class Candidates {
  readonly #byWallet = new Map<Address, Receipt[]>();

  constructor(receipts: readonly Receipt[]) {
    const sorted = receipts.toSorted((a, b) => a.acceptedAt - b.acceptedAt || (a.receiptId < b.receiptId ? -1 : 1));
    for (const receipt of sorted) {
      const own = this.#byWallet.get(receipt.provider);
      if (own) own.push(receipt);
      else this.#byWallet.set(receipt.provider, [receipt]);
    }
  }

  /**
   * The receipts of a batch, proven by its root, or undefined. Batches close with the oldest receipts first, so they are
   * each wallet's oldest ones that add up to its credit: there is only one such set, because units are positive.
   */
  find({ credits, root }: RecordedBatch): Receipt[] | undefined {
    const found: Receipt[] = [];
    for (const { provider, units } of credits) {
      let left = units;
      for (const receipt of this.#byWallet.get(provider) ?? []) {
        if (left <= 0n) break;
        left -= receipt.units;
        found.push(receipt);
      }
      if (left !== 0n) return undefined;
    }
    return receiptTree(found.map(leafOf)).root === root ? found : undefined;
  }

  /**
   * Until when receipts were accepted whose attempt began before `before`, at least until then. A result whose
   * acknowledgement was lost comes again: it is accepted anew by a store that has forgotten it.
   */
  acceptedUntil(before: number): number {
    let until = before;
    for (const receipt of [...this.#byWallet.values()].flat()) {
      if (startOf(receipt) < before) until = Math.max(until, receipt.acceptedAt + 1);
    }
    return until;
  }

  remove(receipts: readonly Receipt[]): void {
    const gone = new Set<Hex>(receipts.map(({ receiptId }) => receiptId));
    for (const [wallet, own] of this.#byWallet) {
      this.#byWallet.set(
        wallet,
        own.filter(({ receiptId }) => !gone.has(receiptId)),
      );
    }
  }
}

/** When the attempt began, in milliseconds since 1970: its id is a UUIDv7. */
function startOf({ receiptId }: Receipt): number {
  return Number.parseInt(receiptId.slice(2, 14), 16);
}

/**
 * Ends every live attempt that began before `before`. Its result may have been accepted in the time that the store has
 * lost, with its receipt in a batch; the node still has it when its acknowledgement was lost too, and would send it again.
 * The task is computed anew, which is other work with another receipt. Returns how many.
 */
async function endAttempts(store: Store, before: number): Promise<number> {
  const tasks = await readAll((query) => store.tasks({ ...query, states: ["running", "cancelling"] }));
  const ended = await Promise.all(tasks.map((task) => endAttempt(store, task, before)));
  return ended.filter(Boolean).length;
}

/** Tries again when somebody else was quicker: whoever it is given to, the attempt ends. False when it began later, or has ended. */
async function endAttempt(store: Store, task: Task, before: number): Promise<boolean> {
  for (let current: Task | null = task; current; current = await store.task(task.id)) {
    const live = liveAssignment(current);
    if (!live || !current.owner || live.assignedAt >= before) return false;
    const ending = { state: "lost", reason: "STORE_RESTORED", at: Date.now() } as const;
    const retry = { maxAttempts: Number.POSITIVE_INFINITY, notBefore: current.notBefore };
    if (await store.saveTask(endAssignment(current, live.id, ending, retry, current.owner))) return true;
  }
  return false;
}

/** Names of the coordinators that came, or gave a sign of life, since `known` was read. */
export async function livingCoordinators(
  store: Pick<Store, "coordinators">,
  known: readonly CoordinatorRecord[],
): Promise<string[]> {
  const living = (await store.coordinators()).filter(
    (now) => !known.some((then) => isSameOwner(then, now) && then.beat === now.beat),
  );
  return living.map(({ coordinatorId }) => coordinatorId);
}
