import { setTimeout as sleep } from "node:timers/promises";
import type { TaskView } from "@proof-of-compute/coordinator/edges/rest/tasks/schemas";
import { type Address, fromHex, type Hex, parseAddress, sha256, toHex } from "@proof-of-compute/proto";
import { checkProduct, type MatmulSpec, matmulSeed } from "@proof-of-compute/proto/kinds/matmul";
import { Wallet } from "ethers";
import { Refused } from "../../../scripts/local/rest-client.ts";
import { Client, isCertain } from "./client.ts";
import type { Asked, History } from "./history.ts";

/** Probabilities of a requester's actions. */
const LARGE = 0.05;
const SHORT_DEADLINE = 0.1;
const CANCEL = 0.08;
const BURST = 0.1;
const BURST_TASKS = 8;
/** In seconds: the shortest that the facade accepts, and one longer than any run. */
const DEADLINES = { short: 10, ample: 3_600 };
/** How often a lane looks at its tasks, and after how long it asks for more regardless. */
const LOOK_MS = 400;
const PATIENCE_MS = 15_000;
const RETRY_MS = 500;

/** Attempts at a request to a repaired network. */
const TRIES = 20;
/** Refusals after which the same request may succeed later or elsewhere. */
const TEMPORARY: ReadonlySet<string> = new Set(["RATE_LIMITED", "UNAUTHENTICATED", "SIGN_IN_REFUSED", "CONFLICT"]);

/** The coordinator was too busy or paused to read the request in time. */
const REQUEST_TIMEOUT = 408;

const SETTLED: ReadonlySet<string> = new Set(["verified", "batched", "recorded", "failed", "cancelled"]);

interface Requester {
  readonly wallet: Address;
  readonly client: Client;
}

/** Requesters that ask for tasks, cancel some, and follow them, each request at a random coordinator. */
export class Workload {
  readonly #history: History;
  readonly #doors: readonly string[];
  readonly #random: () => number;
  readonly #name: string;
  readonly #done = new AbortController();
  readonly #lanes: Promise<void>[] = [];
  /** The requester of each task, who alone may read it. */
  readonly #owners = new Map<Hex, Requester>();
  #ended = 0;

  /** `name` distinguishes the keys of different runs. */
  constructor(
    components: { readonly history: History; readonly random: () => number },
    init: { readonly doors: readonly string[]; readonly name: string },
  ) {
    this.#history = components.history;
    this.#random = components.random;
    this.#doors = init.doors;
    this.#name = init.name;
  }

  /** Tasks that a requester saw end. */
  get ended(): number {
    return this.#ended;
  }

  /** Whether a task in this state can only move on to the chain. */
  static hasEnded(state: string): boolean {
    return SETTLED.has(state);
  }

  start(requesters: number, lanes: number): void {
    for (let index = 0; index < requesters; index++) {
      const wallet = new Wallet(Wallet.createRandom().privateKey);
      const requester = { wallet: parseAddress(wallet.address), client: new Client(wallet) };
      for (let lane = 0; lane < lanes; lane++) this.#lanes.push(this.#ask(requester, `${this.#name}-${index}-${lane}`));
    }
  }

  /** Stops asking for tasks. Resolves once every request has an answer, which may take until the network is repaired. */
  async finish(): Promise<void> {
    this.#done.abort();
    await Promise.all(this.#lanes);
  }

  /** Rejects when a lane got an impossible answer. */
  get failed(): Promise<never> {
    return Promise.all(this.#lanes).then(() => new Promise<never>(() => {}));
  }

  /** Reads the outputs of up to `limit` recorded tasks, and checks them. */
  async verifyOutputs(limit: number): Promise<void> {
    let left = limit;
    for (const [taskId, { client }] of this.#owners) {
      if (left === 0) return;
      const via = this.#door();
      const task = await persist(() => client.task(via, taskId));
      if (task.state !== "recorded") continue;
      const output = await persist(() => client.output(via, taskId));
      const digest = sha256(output);
      this.#history.add({ type: "output", taskId, via, digest: toHex(digest), valid: isProduct(task, output, digest) });
      left--;
    }
  }

  async #ask(requester: Requester, lane: string): Promise<void> {
    for (let round = 0; !this.#done.signal.aborted; round++) {
      const tasks = this.#random() < BURST ? BURST_TASKS : 1;
      const ids: Hex[] = [];
      for (let i = 0; i < tasks; i++) ids.push(await this.#submit(requester, `${lane}-${round}-${i}`));
      await Promise.all(ids.map((id) => this.#follow(requester, id)));
    }
  }

  /** Repeats the request with its key, at random coordinators, until it succeeds. */
  async #submit({ wallet, client }: Requester, key: string): Promise<Hex> {
    const asked: Asked = {
      n: this.#random() < LARGE ? 512 : 64 * (1 + Math.floor(this.#random() * 3)),
      k: 2 + Math.floor(this.#random() * 2),
      deadlineSeconds: this.#random() < SHORT_DEADLINE ? DEADLINES.short : DEADLINES.ample,
    };
    for (;;) {
      const via = this.#door();
      const entry = { type: "submit", requester: wallet, key, via, asked } as const;
      this.#history.add({ ...entry, phase: "invoke" });
      try {
        const { id } = await client.dispatch(via, asked, key);
        this.#history.add({ ...entry, phase: "ok", taskId: id as Hex });
        this.#owners.set(id as Hex, { wallet, client });
        return id as Hex;
      } catch (error) {
        this.#history.add({ ...entry, ...outcome(error) });
        requireTemporary(error);
      }
      await sleep(RETRY_MS * this.#random());
    }
  }

  async #follow(requester: Requester, taskId: Hex): Promise<void> {
    const until = performance.now() + PATIENCE_MS;
    if (this.#random() < CANCEL) {
      // Mostly early, because a small task takes milliseconds.
      await sleep(1_500 * this.#random() ** 4);
      await this.#cancel(requester, taskId);
    }
    let last = "";
    while (!this.#done.signal.aborted && performance.now() < until) {
      const askedAt = this.#history.now();
      const via = this.#door();
      const task = await requester.client.task(via, taskId).catch(requireTemporary);
      if (task) {
        const seen = seenOf(task);
        const shown = JSON.stringify(seen);
        if (shown !== last) this.#history.add({ type: "read", taskId, via, askedAt, seen });
        last = shown;
        if (Workload.hasEnded(task.state)) {
          this.#ended++;
          return;
        }
      }
      await sleep(LOOK_MS * (0.5 + this.#random()));
    }
  }

  /** Repeats the cancel until it succeeds or is refused for good. */
  async #cancel({ client }: Requester, taskId: Hex): Promise<void> {
    for (;;) {
      const entry = { type: "cancel", taskId, via: this.#door() } as const;
      this.#history.add({ ...entry, phase: "invoke" });
      try {
        const { state } = await client.cancel(entry.via, taskId);
        return this.#history.add({ ...entry, phase: "ok", state });
      } catch (error) {
        const how = outcome(error);
        this.#history.add({ ...entry, ...how });
        if (how.code === "NOT_CANCELLABLE") return;
        requireTemporary(error);
      }
      await sleep(RETRY_MS * this.#random());
    }
  }

  #door(): string {
    return this.#doors[Math.floor(this.#random() * this.#doors.length)]!;
  }
}

/** Rethrows an error that neither another coordinator nor a later attempt can change. */
function requireTemporary(error: unknown): undefined {
  if (!(error instanceof Refused) || error.status >= 500 || error.status === REQUEST_TIMEOUT) return;
  if (!TEMPORARY.has(error.code)) throw error;
}

/** Asks a repaired network until it answers. */
async function persist<T>(ask: () => Promise<T>): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await ask();
    } catch (error) {
      if (failures === TRIES) throw error;
      await sleep(RETRY_MS);
    }
  }
}

function isProduct(task: TaskView, output: Uint8Array, digest: Uint8Array): boolean {
  const { id, matmul, specDigest, assignments } = task;
  const accepted = assignments.find(({ state }) => state === "accepted")!;
  const seed = matmulSeed({
    assignmentId: fromHex(accepted.id as Hex),
    taskId: fromHex(id as Hex),
    nodeId: fromHex(accepted.nodeId as Hex),
    specDigest: fromHex(specDigest as Hex),
  });
  return checkProduct({ seed, ...(matmul as MatmulSpec) }, output, digest);
}

function outcome(error: unknown): { phase: "fail" | "unknown"; code: string } {
  if (error instanceof Refused) return { phase: isCertain(error) ? "fail" : "unknown", code: error.code };
  const { name, cause } = error as Error;
  return { phase: "unknown", code: (cause as NodeJS.ErrnoException | undefined)?.code ?? name };
}

function seenOf({ state, assignments }: TaskView) {
  return { state, assignments: assignments.map(({ id, state }) => ({ id: id as Hex, state })) };
}
