/** The changes of `npm run reconcile -- --fix` in the store. It changes nothing on the chain. */
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

/** What a fix uses. */
export interface FixComponents {
  readonly store: Store;
  /** The time of a block, in milliseconds since 1970. */
  readonly timeOf: (block: number) => Promise<number>;
  /** Reports each step once it is durable. */
  readonly say: (line: string) => void;
}

/** Settings of a fix. */
export interface FixInit {
  /**
   * Milliseconds by which a coordinator's clock may have been ahead of the chain's. A lost batch may carry receipts that
   * were accepted up to this long after its block.
   */
  readonly clockMarginMs: number;
}

/** No change of the store would be right, for example because the chain contradicts a recorded batch. */
export class CannotFix extends Error {
  override readonly name = "CannotFix";
}

/**
 * Makes the store agree with the chain. It may be interrupted at any line and repeated: attempts end and receipts go into
 * quarantine *before* the batch is stored that lets settlement continue, and settlement stops at the gap until the last
 * batch is stored. Throws {@link CannotFix}.
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
    // End attempts first, also against concurrent writers: an ended attempt accepts no result, and the receipt of one
    // that accepted it before is among the receipts that are read next.
    const ended = await endAttempts(store, before);
    if (ended > 0) say(`batch ${recorded.id}: ended ${ended} attempts whose result may be in it`);
    candidates = new Candidates(await readUnbatched(store));
    const quarantined = await store.quarantineReceipts(candidates.acceptedUntil(before));
    if (quarantined > 0) say(`batch ${recorded.id}: ${quarantined} receipts may be in it, and go into quarantine`);
    await insert(store, { ...batchOf(recorded, at), receiptIds: [], imported: true });
    say(`batch ${recorded.id}: imported from the chain, without its receipts`);
  }
}

/** Withdraws the newest batches, down to the first that the chain holds with another root. */
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
  // `stored` lists the newest first.
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
  // If the command is interrupted before this, settlement does the same.
  await store.updateBatch(id, { state, ...(transaction && { transaction }), ...(block !== undefined && { block }) });
}

function batchOf({ id, root, units, credits, transaction, block }: RecordedBatch, closedAt: number) {
  return { id, root, units, credits, transaction, block, closedAt, state: "recorded" as const };
}

/** The receipts that a lost batch may carry. Throws {@link CannotFix} if this version does not know the kind of one. */
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
   * The receipts of a batch, proven by its root, or undefined. A batch takes the oldest receipts first, so these are each
   * wallet's oldest receipts that add up to its credit. There is only one such set, because units are positive.
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
   * The end of the time in which receipts of attempts that began before `before` were accepted, at least `before`. A node
   * sends a result again if its acknowledgement was lost, and a restored store accepts it again.
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

/** The start of the attempt, in milliseconds since 1970, from its id, a UUIDv7. */
function startOf({ receiptId }: Receipt): number {
  return Number.parseInt(receiptId.slice(2, 14), 16);
}

/**
 * Ends every live attempt that began before `before`. A batch of the lost time may already carry the receipt of its
 * result, and the node would send the result again if its acknowledgement was lost too. The task is computed again, as
 * other work with another receipt. Returns the number of attempts.
 */
async function endAttempts(store: Store, before: number): Promise<number> {
  const tasks = await readAll((query) => store.tasks({ ...query, states: ["running", "cancelling"] }));
  const ended = await Promise.all(tasks.map((task) => endAttempt(store, task, before)));
  return ended.filter(Boolean).length;
}

/** Ends the attempt, whatever other writers do meanwhile. False when it began later, or has ended. */
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

/** Names of the coordinators that registered, or incremented their beat, since `known` was read. */
export async function livingCoordinators(
  store: Pick<Store, "coordinators">,
  known: readonly CoordinatorRecord[],
): Promise<string[]> {
  const living = (await store.coordinators()).filter(
    (now) => !known.some((then) => isSameOwner(then, now) && then.beat === now.beat),
  );
  return living.map(({ coordinatorId }) => coordinatorId);
}
