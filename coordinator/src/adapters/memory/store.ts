import type { Address, Hex, TaskKindName } from "@proof-of-compute/proto";
import type { Batch, BatchState } from "../../domain/batch.ts";
import { ComputeError } from "../../domain/errors.ts";
import type { Node, NodeStatus, Standing } from "../../domain/node.ts";
import { isSameOwner, type Owner } from "../../domain/owner.ts";
import type { Receipt } from "../../domain/receipt.ts";
import { isFinal, liveAssignment, type Task, type TaskState } from "../../domain/task.ts";
import type { Page, PageQuery } from "../../ports/pages.ts";
import type { Unbatched } from "../../ports/receipts.ts";
import type { Store, StoreTotals } from "../../ports/store.ts";
import { MemoryCluster } from "./cluster.ts";

const isOneOf = (owners: readonly Owner[], owner: Owner | undefined) =>
  owners.some((other) => isSameOwner(other, owner));
const isLive = (task: Task) => task.state === "running" || task.state === "cancelling";
const isFree = (receipt: Receipt) => receipt.batchId === undefined && !receipt.quarantined;

/**
 * The model of a {@link Store} adapter, as plain as possible: in memory, without indexes, with sums by recounting. Real
 * adapters are compared with it. It passes the conformance suite itself, so the suite demands nothing odd.
 */
export class MemoryStore extends MemoryCluster implements Store {
  readonly #tasks = new Map<Hex, Task>();
  readonly #outputs = new Map<Hex, Uint8Array>();
  readonly #nodes = new Map<Hex, Node>();
  readonly #standings = new Map<string, Standing>();
  readonly #receipts = new Map<Hex, Receipt>();
  readonly #forgotten = new Set<Hex>();
  readonly #batches: Batch[] = [];

  async insertTask(task: Task): Promise<{ task: Task; created: boolean }> {
    this.check();
    const stored = this.#tasks.get(task.id);
    if (stored) return { task: stored, created: false };
    this.#tasks.set(task.id, task);
    return { task, created: true };
  }

  async saveTask(task: Task, made: { receipt?: Receipt; output?: Uint8Array } = {}): Promise<boolean> {
    this.check();
    if (this.#tasks.get(task.id)?.version !== task.version - 1) return false;
    this.#tasks.set(task.id, task);
    const { receipt, output } = made;
    if (receipt && !this.#receipts.has(receipt.receiptId)) this.#receipts.set(receipt.receiptId, receipt);
    if (output) this.#outputs.set(task.id, output);
    return true;
  }

  async task(id: Hex): Promise<Task | null> {
    this.check();
    return this.#tasks.get(id) ?? null;
  }

  async taskVersions(ids: readonly Hex[]): Promise<{ id: Hex; version: number }[]> {
    return this.#tasksBy(0, ({ id }) => ids.includes(id)).map(({ id, version }) => ({ id, version }));
  }

  async tasks(query: PageQuery & { requester?: Address; states?: readonly TaskState[] }): Promise<Page<Task>> {
    const { requester, states } = query;
    const found = this.#tasksBy(
      "createdAt",
      (task) =>
        (requester === undefined || task.requester === requester) &&
        (states === undefined || states.includes(task.state)),
    );
    return pageOf(found.reverse(), query, (task) => [-task.createdAt, inverse(task.id)]);
  }

  async queuedTasks(query: {
    requesters: readonly Address[];
    now: number;
    limit: number;
    excluded?: readonly Hex[];
  }): Promise<Task[]> {
    const { requesters, now, limit, excluded = [] } = query;
    const ready = this.#tasksBy(
      "notBefore",
      (task) => task.state === "queued" && task.notBefore <= now && !excluded.includes(task.id),
    );
    return requesters.flatMap((by) => ready.filter(({ requester }) => requester === by).slice(0, limit));
  }

  async queueDepths(): Promise<{ requester: Address; queued: number }[]> {
    const queued = this.#tasksBy(0, ({ state }) => state === "queued");
    const requesters = new Set(queued.map(({ requester }) => requester));
    return [...requesters].map((requester) => ({
      requester,
      queued: queued.filter((task) => task.requester === requester).length,
    }));
  }

  async liveTasksOf(nodeId: Hex): Promise<Task[]> {
    return this.#tasksBy(0, (task) => liveAssignment(task)?.nodeId === nodeId);
  }

  async orphanedTasks(owners: readonly Owner[], limit: number, after: Hex = "0x"): Promise<Task[]> {
    const isOrphan = (task: Task) => isLive(task) && !isOneOf(owners, task.owner);
    return this.#tasksBy(0, (task) => task.id > after && isOrphan(task)).slice(0, limit);
  }

  async liveAssignments(owner: Owner): Promise<{ taskId: Hex; assignmentId: Hex }[]> {
    const tasks = this.#tasksBy(0, (task) => isLive(task) && isSameOwner(task.owner, owner));
    return tasks.map((task) => ({ taskId: task.id, assignmentId: liveAssignment(task)!.id }));
  }

  async cancellingTasks(owner: Owner): Promise<Task[]> {
    return this.#tasksBy(0, (task) => task.state === "cancelling" && isSameOwner(task.owner, owner));
  }

  async overdueTasks({ now, owner, limit }: { now: number; owner: Owner; limit: number }): Promise<Task[]> {
    const isMine = (task: Task) => task.owner === undefined || isSameOwner(task.owner, owner);
    return this.#tasksBy("deadline", (task) => !isFinal(task) && isMine(task) && task.deadline < now).slice(0, limit);
  }

  async output(taskId: Hex): Promise<Uint8Array | null> {
    this.check();
    return this.#outputs.get(taskId) ?? null;
  }

  async pruneTasks(before: number, limit: number): Promise<number> {
    const ended = this.#tasksBy(0, ({ endedAt }) => endedAt !== undefined && endedAt < before).slice(0, limit);
    for (const { id } of ended) {
      this.#tasks.delete(id);
      this.#outputs.delete(id);
    }
    return ended.length;
  }

  async joinNode(node: Node): Promise<void> {
    this.check();
    this.#nodes.set(node.id, node);
  }

  async saveNode(node: Node): Promise<boolean> {
    this.check();
    if (!isSameOwner(this.#nodes.get(node.id)?.owner, node.owner)) return false;
    this.#nodes.set(node.id, node);
    return true;
  }

  async saveLastSeen(owner: Owner, seen: readonly { id: Hex; lastSeen: number }[]): Promise<Hex[]> {
    this.check();
    const known = seen.filter(({ id }) => this.#nodes.has(id));
    const lost = known.filter(({ id }) => !isSameOwner(this.#nodes.get(id)!.owner, owner)).map(({ id }) => id);
    for (const { id, lastSeen } of known) {
      if (!lost.includes(id)) this.#nodes.set(id, { ...this.#nodes.get(id)!, lastSeen });
    }
    return lost;
  }

  async releaseNodes(owners: readonly Owner[]): Promise<number> {
    const left = this.#nodesBy((node) => node.status !== "offline" && !isOneOf(owners, node.owner));
    for (const node of left) this.#nodes.set(node.id, { ...node, status: "offline" });
    return left.length;
  }

  async node(id: Hex): Promise<Node | null> {
    this.check();
    return this.#nodes.get(id) ?? null;
  }

  async nodes(
    query: PageQuery & { wallet?: Address; status?: NodeStatus; coordinatorId?: string },
  ): Promise<Page<Node>> {
    const { wallet, status, coordinatorId } = query;
    const found = this.#nodesBy(
      (node) =>
        (wallet === undefined || node.wallet === wallet) &&
        (status === undefined || node.status === status) &&
        (coordinatorId === undefined || node.owner.coordinatorId === coordinatorId),
    );
    return pageOf(found, query, (node) => [0, node.id]);
  }

  async nodeCounts(): Promise<Record<NodeStatus, number>> {
    const count = (status: NodeStatus) => this.#nodesBy((node) => node.status === status).length;
    return { online: count("online"), suspect: count("suspect"), offline: count("offline") };
  }

  async pruneNodes(before: number, limit: number): Promise<number> {
    const earned = new Set([...this.#standings.values()].filter(({ valid }) => valid > 0).map(({ nodeId }) => nodeId));
    const gone = this.#nodesBy(
      ({ id, status, lastSeen }) => status === "offline" && lastSeen < before && !earned.has(id),
    ).slice(0, limit);
    for (const { id } of gone) this.#nodes.delete(id);
    return gone.length;
  }

  async standing(nodeId: Hex, wallet: Address): Promise<Standing | null> {
    this.check();
    return this.#standings.get(nodeId + wallet) ?? null;
  }

  async saveStandings(standings: readonly Standing[]): Promise<void> {
    this.check();
    for (const standing of standings) this.#standings.set(standing.nodeId + standing.wallet, standing);
  }

  async receipt(id: Hex): Promise<Receipt | null> {
    this.check();
    return this.#receipts.get(id) ?? null;
  }

  async receipts(
    query: PageQuery & { provider?: Address; batchId?: number; quarantined?: true },
  ): Promise<Page<Receipt>> {
    const { provider, batchId, quarantined } = query;
    const found = this.#receiptsBy(
      0,
      (receipt) =>
        (provider === undefined || receipt.provider === provider) &&
        (batchId === undefined || receipt.batchId === batchId) &&
        (quarantined === undefined || receipt.quarantined === quarantined),
    );
    return pageOf(found, query, (receipt) => [0, receipt.receiptId]);
  }

  async unbatchedReceipts(limit: number, kinds?: readonly TaskKindName[]): Promise<Receipt[]> {
    const isWanted = (receipt: Receipt) => isFree(receipt) && (kinds === undefined || kinds.includes(receipt.kind));
    return this.#receiptsBy("acceptedAt", isWanted).slice(0, limit);
  }

  async unbatched(): Promise<Unbatched> {
    const free = this.#receiptsBy("acceptedAt", isFree);
    return { count: free.length, ...(free[0] && { oldestAcceptedAt: free[0].acceptedAt }) };
  }

  async receiptsWithResult(before: number, limit: number): Promise<Receipt[]> {
    const hasResult = ({ acceptedAt, receiptId }: Receipt) => acceptedAt < before && !this.#forgotten.has(receiptId);
    return this.#receiptsBy("acceptedAt", hasResult).slice(0, limit);
  }

  async forgetResults(receipts: readonly Pick<Receipt, "receiptId" | "taskId">[]): Promise<void> {
    this.check();
    for (const { receiptId, taskId } of receipts) {
      this.#forgotten.add(receiptId);
      if (this.#tasks.get(taskId)?.assignments[receiptId]) this.#outputs.delete(taskId);
    }
  }

  async referredDigests(digests: readonly Hex[]): Promise<Hex[]> {
    const isReferring = ({ resultDigest, receiptId }: Receipt) =>
      digests.includes(resultDigest) && !this.#forgotten.has(receiptId);
    return [...new Set(this.#receiptsBy(0, isReferring).map(({ resultDigest }) => resultDigest))];
  }

  async quarantineReceipts(before: number): Promise<number> {
    const doubtful = this.#receiptsBy(0, (receipt) => isFree(receipt) && receipt.acceptedAt < before);
    for (const receipt of doubtful) this.#receipts.set(receipt.receiptId, { ...receipt, quarantined: true });
    return doubtful.length;
  }

  async releaseReceipts(ids: readonly Hex[]): Promise<void> {
    for (const { quarantined: _, ...receipt } of this.#receiptsBy(0, ({ receiptId }) => ids.includes(receiptId))) {
      this.#receipts.set(receipt.receiptId, receipt);
    }
  }

  async insertBatch(batch: Batch): Promise<boolean> {
    this.check();
    const receipts = batch.receiptIds.map((id) => this.#receipts.get(id));
    const free =
      new Set(receipts).size === receipts.length &&
      receipts.every((receipt) => receipt !== undefined && isFree(receipt));
    if (batch.id !== this.#batches.length + 1 || !free) return false;
    this.#batches.push(batch);
    for (const id of batch.receiptIds) this.#receipts.set(id, { ...this.#receipts.get(id)!, batchId: batch.id });
    return true;
  }

  async updateBatch(
    id: number,
    change: { state: BatchState; transaction?: Hex; block?: number },
    from?: BatchState,
  ): Promise<boolean> {
    this.check();
    const batch = this.#batches[id - 1];
    if (!batch) throw new ComputeError("NOT_FOUND");
    if (from !== undefined && batch.state !== from) return false;
    const { block, ...changed } = { ...batch, ...change };
    this.#batches[id - 1] = changed.state === "closed" || block === undefined ? changed : { ...changed, block };
    return true;
  }

  async withdrawBatch(id: number): Promise<boolean> {
    this.check();
    const last = this.#batches.at(-1);
    if (last?.id !== id || last.state !== "closed") return false;
    this.#batches.pop();
    for (const { batchId: _, ...receipt } of this.#receiptsBy(0, ({ batchId }) => batchId === id)) {
      this.#receipts.set(receipt.receiptId, receipt);
    }
    return true;
  }

  async batch(id: number): Promise<Batch | null> {
    this.check();
    return this.#batches[id - 1] ?? null;
  }

  async batches(query: PageQuery & { unrecorded?: true }): Promise<Page<Batch>> {
    this.check();
    const found = this.#batches
      .filter(({ state }) => !query.unrecorded || state !== "recorded")
      .map((batch) => ({ ...batch, receiptIds: [] }));
    return pageOf(found.reverse(), query, ({ id }) => [-id, ""]);
  }

  async totals(): Promise<StoreTotals> {
    const count = (state: TaskState) => this.#tasksBy(0, (task) => task.state === state).length;
    const sum = (parts: readonly { readonly units: bigint }[]) => parts.reduce((total, { units }) => total + units, 0n);
    const quarantined = this.#receiptsBy(0, (receipt) => receipt.quarantined === true);
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
      unbatched: await this.unbatched(),
      quarantined: { count: quarantined.length, units: sum(quarantined) },
      units: {
        verified: sum([...this.#receipts.values()]),
        recorded: sum(this.#batches.filter(({ state }) => state === "recorded")),
      },
    };
  }

  /** The wanted tasks, ordered by a time (0: none), then id. */
  #tasksBy(time: 0 | "createdAt" | "notBefore" | "deadline", isWanted: (task: Task) => boolean): Task[] {
    this.check();
    return sorted([...this.#tasks.values()].filter(isWanted), (task) => [time && task[time], task.id]);
  }

  #receiptsBy(time: 0 | "acceptedAt", isWanted: (receipt: Receipt) => boolean): Receipt[] {
    this.check();
    const found = [...this.#receipts.values()].filter(isWanted);
    return sorted(found, (receipt) => [time && receipt[time], receipt.receiptId]);
  }

  #nodesBy(isWanted: (node: Node) => boolean): Node[] {
    this.check();
    return sorted([...this.#nodes.values()].filter(isWanted), (node) => [0, node.id]);
  }
}

type Position = readonly [number, string];

function compare([numberA, textA]: Position, [numberB, textB]: Position): number {
  return numberA - numberB || (textA < textB ? -1 : textA > textB ? 1 : 0);
}

function sorted<T>(items: readonly T[], positionOf: (item: T) => Position): T[] {
  return items.toSorted((a, b) => compare(positionOf(a), positionOf(b)));
}

/** An id that sorts in reverse. */
function inverse(id: Hex): string {
  return id.slice(2).replace(/./g, (digit) => (15 - Number.parseInt(digit, 16)).toString(16));
}

/** `positionOf` increases along `items`. The cursor is the position of the previous item, which may have been removed. */
function pageOf<T>(items: readonly T[], { limit, cursor }: PageQuery, positionOf: (item: T) => Position): Page<T> {
  const after = cursor === undefined ? undefined : positionIn(cursor);
  const left = after ? items.filter((item) => compare(positionOf(item), after) > 0) : items;
  const shown = left.slice(0, limit);
  if (left.length <= limit) return { items: shown };
  return { items: shown, cursor: JSON.stringify(positionOf(shown.at(-1)!)) };
}

function positionIn(cursor: string): Position {
  try {
    return JSON.parse(cursor);
  } catch {
    throw new ComputeError("INVALID_REQUEST", "unknown cursor");
  }
}
