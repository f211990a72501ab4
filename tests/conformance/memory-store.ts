import type { Address, Hex } from "@proof-of-compute/proto";
import type { Batch, BatchState } from "../../coordinator/src/domain/batch.ts";
import { ComputeError } from "../../coordinator/src/domain/errors.ts";
import type { Node, Standing } from "../../coordinator/src/domain/node.ts";
import type { Receipt } from "../../coordinator/src/domain/receipt.ts";
import type { Task, TaskState } from "../../coordinator/src/domain/task.ts";
import type { Page, PageQuery, Store, StoreTotals } from "../../coordinator/src/ports/store.ts";

const LIVE: readonly TaskState[] = ["running", "cancelling"];

/**
 * What a store must do, said as plainly as can be: nothing kept on disk, nothing indexed, sums by recounting. The model
 * that real adapters are compared with; it passes the conformance suite itself, so that the suite asks nothing odd.
 */
export class MemoryStore implements Store {
  #open = false;
  #contract: string | undefined;
  readonly #tasks = new Map<Hex, Task>();
  readonly #outputs = new Map<Hex, Uint8Array>();
  readonly #nodes = new Map<Hex, Node>();
  readonly #standings = new Map<string, Standing>();
  readonly #receipts = new Map<Hex, Receipt>();
  readonly #forgotten = new Set<Hex>();
  readonly #batches: Batch[] = [];

  async start(): Promise<void> {
    this.#open = true;
  }

  async stop(): Promise<void> {
    this.#open = false;
  }

  async bind(contract: { readonly chainId: number; readonly address: Address }, rebind: boolean): Promise<void> {
    this.#check();
    const text = JSON.stringify([contract.chainId, contract.address]);
    if (this.#contract !== undefined && this.#contract !== text && !rebind) {
      throw new ComputeError("STORE_BOUND_ELSEWHERE");
    }
    this.#contract = text;
  }

  async boundTo(): Promise<{ chainId: number; address: Address } | null> {
    this.#check();
    if (this.#contract === undefined) return null;
    const [chainId, address] = JSON.parse(this.#contract) as [number, Address];
    return { chainId, address };
  }

  async insertTask(task: Task): Promise<{ task: Task; created: boolean }> {
    this.#check();
    const stored = this.#tasks.get(task.id);
    if (stored) return { task: stored, created: false };
    this.#tasks.set(task.id, task);
    return { task, created: true };
  }

  async saveTask(task: Task, made: { receipt?: Receipt; output?: Uint8Array } = {}): Promise<boolean> {
    this.#check();
    if (this.#tasks.get(task.id)?.version !== task.version - 1) return false;
    this.#tasks.set(task.id, task);
    const { receipt, output } = made;
    if (receipt && !this.#receipts.has(receipt.receiptId)) this.#receipts.set(receipt.receiptId, receipt);
    if (output) this.#outputs.set(task.id, output);
    return true;
  }

  async task(id: Hex): Promise<Task | null> {
    this.#check();
    return this.#tasks.get(id) ?? null;
  }

  async tasks(query: PageQuery & { requester?: Address; states?: readonly TaskState[] }): Promise<Page<Task>> {
    const { requester, states } = query;
    const found = this.#sortedTasks((task) => [task.createdAt, task.id])
      .filter((task) => requester === undefined || task.requester === requester)
      .filter((task) => states === undefined || states.includes(task.state));
    return pageOf(found.reverse(), query, (task) => task.id);
  }

  async queuedTasks(query: { now: number; limit: number; excluded?: readonly Hex[] }): Promise<Task[]> {
    return this.#sortedTasks((task) => [task.notBefore, task.id])
      .filter((task) => task.state === "queued" && task.notBefore <= query.now && !query.excluded?.includes(task.id))
      .slice(0, query.limit);
  }

  async liveTasks(): Promise<Task[]> {
    return this.#sortedTasks((task) => [0, task.id]).filter((task) => LIVE.includes(task.state));
  }

  async overdueTasks(now: number, limit: number): Promise<Task[]> {
    return this.#sortedTasks((task) => [task.deadline, task.id])
      .filter((task) => [...LIVE, "queued"].includes(task.state) && task.deadline < now)
      .slice(0, limit);
  }

  async output(taskId: Hex): Promise<Uint8Array | null> {
    this.#check();
    return this.#outputs.get(taskId) ?? null;
  }

  async saveNode(node: Node): Promise<void> {
    this.#check();
    this.#nodes.set(node.id, node);
  }

  async saveLastSeen(seen: readonly { id: Hex; lastSeen: number }[]): Promise<void> {
    this.#check();
    for (const { id, lastSeen } of seen) {
      const node = this.#nodes.get(id);
      if (node) this.#nodes.set(id, { ...node, lastSeen });
    }
  }

  async node(id: Hex): Promise<Node | null> {
    this.#check();
    return this.#nodes.get(id) ?? null;
  }

  async nodes(query: PageQuery & { wallet?: Address; status?: Node["status"] }): Promise<Page<Node>> {
    this.#check();
    const found = sorted([...this.#nodes.values()], (node) => [0, node.id])
      .filter((node) => query.wallet === undefined || node.wallet === query.wallet)
      .filter((node) => query.status === undefined || node.status === query.status);
    return pageOf(found, query, (node) => node.id);
  }

  async standing(nodeId: Hex, wallet: Address): Promise<Standing | null> {
    this.#check();
    return this.#standings.get(nodeId + wallet) ?? null;
  }

  async saveStandings(standings: readonly Standing[]): Promise<void> {
    this.#check();
    for (const standing of standings) this.#standings.set(standing.nodeId + standing.wallet, standing);
  }

  async receipt(id: Hex): Promise<Receipt | null> {
    this.#check();
    return this.#receipts.get(id) ?? null;
  }

  async receipts(query: PageQuery & { provider?: Address; batchId?: number }): Promise<Page<Receipt>> {
    const found = this.#sortedReceipts((receipt) => [0, receipt.receiptId])
      .filter((receipt) => query.provider === undefined || receipt.provider === query.provider)
      .filter((receipt) => query.batchId === undefined || receipt.batchId === query.batchId);
    return pageOf(found, query, (receipt) => receipt.receiptId);
  }

  async unbatchedReceipts(limit: number): Promise<Receipt[]> {
    return this.#sortedReceipts((receipt) => [receipt.acceptedAt, receipt.receiptId])
      .filter((receipt) => receipt.batchId === undefined)
      .slice(0, limit);
  }

  async receiptsWithResult(before: number, limit: number): Promise<Receipt[]> {
    return this.#sortedReceipts(({ acceptedAt, receiptId }) => [acceptedAt, receiptId])
      .filter(({ acceptedAt, receiptId }) => acceptedAt < before && !this.#forgotten.has(receiptId))
      .slice(0, limit);
  }

  async forgetResults(receipts: readonly Pick<Receipt, "receiptId" | "taskId">[]): Promise<void> {
    this.#check();
    for (const { receiptId, taskId } of receipts) {
      this.#forgotten.add(receiptId);
      this.#outputs.delete(taskId);
    }
  }

  async insertBatch(batch: Batch): Promise<boolean> {
    this.#check();
    const receipts = batch.receiptIds.map((id) => this.#receipts.get(id));
    const free =
      new Set(receipts).size === receipts.length &&
      receipts.every((receipt) => receipt !== undefined && receipt.batchId === undefined);
    if (batch.id !== this.#batches.length + 1 || !free) return false;
    this.#batches.push(batch);
    for (const id of batch.receiptIds) this.#receipts.set(id, { ...this.#receipts.get(id)!, batchId: batch.id });
    return true;
  }

  async updateBatch(id: number, change: { state: BatchState; transaction?: Hex; block?: number }): Promise<void> {
    this.#check();
    const batch = this.#batches[id - 1];
    if (!batch) throw new ComputeError("NOT_FOUND");
    const { block, ...changed } = { ...batch, ...change };
    this.#batches[id - 1] = changed.state === "closed" || block === undefined ? changed : { ...changed, block };
  }

  async batch(id: number): Promise<Batch | null> {
    this.#check();
    return this.#batches[id - 1] ?? null;
  }

  async lastBatch(): Promise<Batch | null> {
    this.#check();
    return this.#batches.at(-1) ?? null;
  }

  async unrecordedBatches(): Promise<Batch[]> {
    this.#check();
    return this.#batches.filter((batch) => batch.state !== "recorded");
  }

  async batches(query: PageQuery): Promise<Page<Batch>> {
    this.#check();
    const found = this.#batches.map((batch) => ({ ...batch, receiptIds: [] }));
    return pageOf(found.reverse(), query, (batch) => `${batch.id}`);
  }

  async totals(): Promise<StoreTotals> {
    const count = (state: TaskState) => [...this.#tasks.values()].filter((task) => task.state === state).length;
    const unbatched = await this.unbatchedReceipts(Number.POSITIVE_INFINITY);
    const sum = (parts: readonly { readonly units: bigint }[]) => parts.reduce((total, { units }) => total + units, 0n);
    return {
      tasks: {
        queued: count("queued"),
        running: count("running"),
        cancelling: count("cancelling"),
        verified: count("verified"),
        failed: count("failed"),
        cancelled: count("cancelled"),
      },
      receipts: this.#receipts.size,
      unbatched: { count: unbatched.length, ...(unbatched[0] && { oldestAcceptedAt: unbatched[0].acceptedAt }) },
      units: {
        verified: sum([...this.#receipts.values()]),
        recorded: sum(this.#batches.filter(({ state }) => state === "recorded")),
      },
    };
  }

  #check(): void {
    if (!this.#open) throw new ComputeError("UNAVAILABLE", "the store is not open");
  }

  #sortedTasks(keyOf: (task: Task) => [number, string]): Task[] {
    this.#check();
    return sorted([...this.#tasks.values()], keyOf);
  }

  #sortedReceipts(keyOf: (receipt: Receipt) => [number, string]): Receipt[] {
    this.#check();
    return sorted([...this.#receipts.values()], keyOf);
  }
}

function sorted<T>(items: readonly T[], keyOf: (item: T) => [number, string]): T[] {
  return items.toSorted((a, b) => {
    const [numberA, textA] = keyOf(a);
    const [numberB, textB] = keyOf(b);
    return numberA - numberB || (textA < textB ? -1 : textA > textB ? 1 : 0);
  });
}

/** Nothing is ever deleted here, so the item that the cursor names is still there. */
function pageOf<T>(items: readonly T[], { limit, cursor }: PageQuery, idOf: (item: T) => string): Page<T> {
  const before = cursor === undefined ? -1 : items.findIndex((item) => idOf(item) === cursor);
  if (cursor !== undefined && before < 0) throw new ComputeError("INVALID_REQUEST", "unknown cursor");
  const shown = items.slice(before + 1, before + 1 + limit);
  if (before + 1 + limit >= items.length) return { items: shown };
  return { items: shown, cursor: idOf(shown.at(-1)!) };
}
