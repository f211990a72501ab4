import type { Address, Hex } from "@proof-of-compute/proto";
import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { pino } from "pino";
import { beforeEach, expect, test } from "vitest";
import type { Batch } from "../../domain/batch.ts";
import type { Receipt } from "../../domain/receipt.ts";
import { BatchTooLarge, ContractRefusal } from "../../ports/chain.ts";
import { BatchCloser, type CloserComponents } from "./batch-closer.ts";

const ROOT: Hex = "0x07";
const never = new AbortController().signal;

let clock: ManualClock;
let receipts: Receipt[];
let inserted: Batch[];
let told: Batch[];
let reads: number;
let refusal: Error | undefined;
let taken: boolean;
/** The most wallets that fit into one transaction. */
let affordable: number;
let closer: BatchCloser;

beforeEach(() => {
  clock = new ManualClock();
  receipts = [];
  inserted = [];
  told = [];
  reads = 0;
  refusal = undefined;
  taken = false;
  affordable = 100;
  const store: CloserComponents["store"] = {
    async unbatched() {
      return { count: receipts.length, ...(receipts[0] && { oldestAcceptedAt: receipts[0].acceptedAt }) };
    },
    async unbatchedReceipts(limit: number) {
      reads++;
      return receipts.slice(0, limit);
    },
    async insertBatch(batch: Batch) {
      if (taken) return false;
      inserted.push(batch);
      receipts.splice(0, batch.receiptIds.length);
      return true;
    },
  };
  const chain: CloserComponents["chain"] = {
    async estimate({ credits }) {
      if (refusal) throw refusal;
      if (credits.length > affordable) throw new BatchTooLarge("too dear");
      return 100_000n;
    },
  };
  closer = new BatchCloser(
    {
      store,
      chain,
      clock,
      logger: pino({ level: "silent" }),
      trees: { root: async () => ROOT },
      onChange: (batch) => void told.push(batch),
    },
    { maxReceipts: 100, maxProviders: 10, maxWaitMs: 30_000 },
  );
});

/** Adds receipts, of `providers` wallets in turn. */
function arrive(count: number, providers: number): void {
  for (let i = 0; i < count; i++) {
    const provider = `0x${String(i % providers).padStart(40, "0")}` as Address;
    receipts.push({ receiptId: `0x${i}`, provider, units: 1n, acceptedAt: clock.now() } as Receipt);
  }
}

test("nothing is due without receipts", async () => {
  expect(await closer.dueIn()).toBe(Number.POSITIVE_INFINITY);
  expect(await closer.close(1, never)).toBe(false);
});

test("a batch falls due with the age of its oldest receipt", async () => {
  arrive(1, 1);
  expect(await closer.dueIn()).toBe(30_000);
  clock.advance(29_999);
  arrive(1, 1);
  expect(await closer.dueIn()).toBe(1);
  clock.advance(1);
  expect(await closer.dueIn()).toBe(0);
});

test("the age of receipts counts across a restart", async () => {
  arrive(1, 1);
  clock.jump(60_000);
  expect(await closer.dueIn()).toBe(0);
});

test("a wall clock that is set back delays no receipt", async () => {
  arrive(1, 1);
  expect(await closer.dueIn()).toBe(30_000);
  clock.jump(-3_600_000);
  clock.advance(30_000);
  expect(await closer.dueIn()).toBe(0);
});

test("a batch falls due with the number of its receipts", async () => {
  arrive(99, 1);
  expect(await closer.dueIn()).toBe(30_000);
  arrive(1, 1);
  expect(await closer.dueIn()).toBe(0);
});

test("a batch falls due with the number of its providers, and stays due until it closes", async () => {
  arrive(25, 12);
  expect([await closer.dueIn(), await closer.dueIn()]).toEqual([0, 0]);
  expect(reads).toBe(1);
  expect(await closer.close(1, never)).toBe(true);
  expect(inserted[0]).toMatchObject({ id: 1, root: ROOT, units: 10n });
  expect(inserted[0]!.credits).toHaveLength(10);
});

test("providers are counted again only when receipts have doubled", async () => {
  arrive(20, 3);
  for (let i = 0; i < 5; i++) await closer.dueIn();
  expect(reads).toBe(1);
  arrive(20, 3);
  for (let i = 0; i < 5; i++) await closer.dueIn();
  expect(reads).toBe(2);
});

test("reports a batch once it is stored", async () => {
  arrive(3, 2);
  expect(await closer.close(4, never)).toBe(true);
  expect(told).toEqual(inserted);
  expect(told[0]).toMatchObject({ id: 4, state: "closed", units: 3n, receiptIds: ["0x0", "0x1", "0x2"] });
});

test("starts again, and reports nothing, when another leader closed a batch first", async () => {
  arrive(3, 2);
  taken = true;
  expect(await closer.close(1, never)).toBe(true);
  expect(told).toEqual([]);
});

test("stores no batch that the contract would refuse", async () => {
  arrive(3, 2);
  refusal = new ContractRefusal("EnforcedPause", []);
  await expect(closer.close(1, never)).rejects.toBe(refusal);
  expect(inserted).toEqual([]);
});

test("halves a batch that no node would accept, down to one wallet", async () => {
  arrive(20, 10);
  affordable = 3;
  expect(await closer.close(1, never)).toBe(true);
  expect(inserted[0]!.credits).toHaveLength(2);
  affordable = 0;
  await expect(closer.close(2, never)).rejects.toThrow(BatchTooLarge);
  expect(inserted).toHaveLength(1);
});
