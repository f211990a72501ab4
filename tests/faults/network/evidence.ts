import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { openStore } from "@proof-of-compute/coordinator/compose/open-store";
import type { Batch } from "@proof-of-compute/coordinator/domain/batch";
import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import type { Task } from "@proof-of-compute/coordinator/domain/task";
import type { Page } from "@proof-of-compute/coordinator/ports/pages";
import type { Store } from "@proof-of-compute/coordinator/ports/store";
import type { Address, Hex } from "@proof-of-compute/proto";
import { verifyBatch } from "@proof-of-compute/proto/verify-batch";
import { pino } from "pino";
import type { Cluster } from "./cluster.ts";

/** A verdict that a daemon was told, as its preload recorded it. */
export interface AckRecord {
  readonly assignmentId: Hex;
  readonly verdict: "ACCEPTED" | "REJECTED" | "LATE";
  readonly reason: string;
  /** Decimal. */
  readonly units: string;
}

/** Store, chain and daemons once the network is at rest. */
export interface Evidence {
  readonly tasks: readonly Task[];
  readonly receipts: readonly Receipt[];
  /** With their receipt ids. */
  readonly batches: readonly Batch[];
  readonly chain: {
    /** Of every wallet that a daemon or a receipt names. */
    readonly units: Readonly<Record<Address, bigint>>;
    /** By batch id. */
    readonly roots: Readonly<Record<number, Hex>>;
    readonly nextBatchId: number;
  };
  readonly daemons: readonly {
    readonly name: string;
    readonly wallet: Address;
    readonly acks: readonly AckRecord[];
    /** Names of the files in its outbox. */
    readonly kept: readonly string[];
  }[];
  /** Published batches that the project's verifier found broken, and why. */
  readonly broken: readonly { readonly batchId: number; readonly detail: string }[];
  /** Largest difference between the wall clocks of two programs, in ms. */
  readonly clocksApartMs: number;
}

const PAGE = 100;
/** Files of an outbox that is not empty. */
const KEPT = /\.(log|bin)$/;

/** Reads store, chain and daemons' folders. The coordinators must have stopped. */
export async function gather(
  cluster: Cluster,
  observed: Pick<Evidence, "broken" | "clocksApartMs">,
): Promise<Evidence> {
  const dataDir = cluster.coordinators[0]!.dataDir;
  const opened = await openStore({ DATA_DIR: dataDir, MONGODB_URI: cluster.mongoUri }, pino({ level: "silent" }));
  try {
    const { store } = opened;
    const tasks = await all((query) => store.tasks(query));
    const receipts = await all((query) => store.receipts(query));
    const batches = await readBatches(store);
    const daemons = await Promise.all(cluster.daemons.map(readDaemon));
    const wallets = new Set([...daemons.map(({ wallet }) => wallet), ...receipts.map(({ provider }) => provider)]);
    return { tasks, receipts, batches, daemons, chain: await readChain(cluster, wallets), ...observed };
  } finally {
    await opened.stop();
  }
}

async function all<T>(read: (query: { limit: number; cursor?: string }) => Promise<Page<T>>): Promise<T[]> {
  const items: T[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await read({ limit: PAGE, ...(cursor !== undefined && { cursor }) });
    items.push(...page.items);
    cursor = page.cursor;
    if (cursor === undefined) return items;
  }
}

/** Reads each batch again, because lists leave out the ids of receipts. */
async function readBatches(store: Store): Promise<Batch[]> {
  const listed = await all((query) => store.batches(query));
  return Promise.all(listed.map(async ({ id }) => (await store.batch(id))!));
}

async function readDaemon({ name, wallet, dataDir, acksFile }: Cluster["daemons"][number]) {
  const lines = (await readFile(acksFile, "utf8")).split("\n").filter((line) => line !== "");
  const files = await readdir(join(dataDir, "outbox"), { recursive: true }).catch(() => []);
  return {
    ...{ name, wallet },
    acks: lines.map((line) => JSON.parse(line) as AckRecord),
    kept: files.filter((file) => KEPT.test(file)),
  };
}

async function readChain({ contract }: Cluster, wallets: ReadonlySet<Address>): Promise<Evidence["chain"]> {
  const nextBatchId = Number(await contract.getFunction("nextBatchId")());
  const units: Record<Address, bigint> = {};
  for (const wallet of wallets) units[wallet] = await contract.getFunction("computeUnits")(wallet);
  const roots: Record<number, Hex> = {};
  for (let id = 1; id < nextBatchId; id++) roots[id] = await contract.getFunction("rootOf")(id);
  return { units, roots, nextBatchId };
}

/** Verifies published batches as a stranger would: from the REST facade, with the public verifier. */
export async function verifyPublished(cluster: Cluster, limit: number): Promise<Evidence["broken"]> {
  const { contract, contractAddress, doors } = cluster;
  const broken: { batchId: number; detail: string }[] = [];
  const next = Number(await contract.getFunction("nextBatchId")());
  const seen = new Set<Hex>();
  for (let id = Math.max(1, next - limit); id < next; id++) {
    const response = await fetch(`${doors[id % doors.length]}/api/batches/${id}/receipts`);
    if (!response.ok) {
      broken.push({ batchId: id, detail: `its receipts are not published: ${response.status}` });
      continue;
    }
    const lines = (await response.text()).split("\n").filter((line) => line !== "");
    const chain = { chainId: 31337, contract: contractAddress };
    const root = async () => ({ root: (await contract.getFunction("rootOf")(id)) as Hex, block: 0 });
    for await (const { name, status, detail } of verifyBatch(lines, { id, chain }, { root }, seen)) {
      if (status === "failed" || (status === "unchecked" && name !== "credits")) {
        broken.push({ batchId: id, detail: `${name}: ${detail}` });
      }
    }
  }
  return broken;
}
