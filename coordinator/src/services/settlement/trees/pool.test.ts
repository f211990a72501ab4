import { type Address, receiptTree, toHex } from "@proof-of-compute/proto";
import { afterAll, expect, test } from "vitest";
import { leafOf } from "../../../domain/batch.ts";
import type { Receipt } from "../../../domain/receipt.ts";
import { ReceiptTrees } from "./pool.ts";

const never = new AbortController().signal;
const trees = new ReceiptTrees();
afterAll(() => trees.stop());

function receipts(count: number, seed: number): Receipt[] {
  return Array.from({ length: count }, (_, index): Receipt => {
    const bytes = (length: number) => {
      const raw = new Uint8Array(length);
      new DataView(raw.buffer).setUint32(0, index);
      raw[length - 1] = seed;
      return toHex(raw);
    };
    return {
      receiptId: bytes(16),
      taskId: bytes(16),
      nodeId: bytes(32),
      provider: bytes(20) as Address,
      requester: bytes(20) as Address,
      kind: "echo",
      assurance: "proven",
      specDigest: bytes(32),
      spec: bytes(62),
      resultDigest: bytes(32),
      units: BigInt(index + 1),
      acceptedAt: 1_795_305_600_000 + index,
      proof: { signature: "0x", index: 0, size: 1, path: [] },
    };
  });
}

test.each([1, 2, 999, 1_000, 1_001, 2_500])("the root of %i receipts is that of their tree", async (count) => {
  const batch = receipts(count, 1);
  expect(await trees.root(batch, never)).toBe(receiptTree(batch.map(leafOf)).root);
});

test("keeps concurrent batches apart", async () => {
  const [one, two] = [receipts(3_000, 1), receipts(2_999, 2)];
  const roots = await Promise.all([trees.root(one, never), trees.root(two, never)]);
  expect(roots).toEqual([one, two].map((batch) => receiptTree(batch.map(leafOf)).root));
});

test("proves from the batch's tree, and reads its receipts once", async () => {
  const batch = receipts(1_200, 4);
  const tree = receiptTree(batch.map(leafOf));
  let reads = 0;
  async function* read() {
    reads++;
    for (let start = 0; start < batch.length; start += 500) yield batch.slice(start, start + 500);
  }
  const asked = [0, 700, 1_199];
  const proofs = await Promise.all(asked.map((index) => trees.proof(tree.root, batch[index]!.receiptId, read)));
  expect(proofs).toEqual(asked.map((index) => tree.proof(index)));
  expect(await trees.proof(tree.root, batch[5]!.receiptId, read)).toEqual(tree.proof(5));
  expect(reads).toBe(1);
});

test("refuses to prove when the stored receipts do not make the batch's root", async () => {
  const batch = receipts(3, 5);
  async function* read() {
    yield batch.slice(1);
  }
  const { root } = receiptTree(batch.map(leafOf));
  await expect(trees.proof(root, batch[1]!.receiptId, read)).rejects.toThrow(/stored receipts make the root/);
});

test("refuses proofs when too many wait", async () => {
  const batch = receipts(2_000, 6);
  async function* read() {
    yield batch;
  }
  const { root } = receiptTree(batch.map(leafOf));
  const asked = await Promise.allSettled(
    batch.slice(0, 200).map(({ receiptId }) => trees.proof(root, receiptId, read)),
  );
  const refused = asked.filter(({ status }) => status === "rejected");
  expect(refused.length).toBeGreaterThan(0);
  expect(refused.length).toBeLessThan(200);
  expect(refused[0]).toMatchObject({ reason: { code: "UNAVAILABLE" } });
});

test("aborts with its signal, and stays usable", async () => {
  const abort = new AbortController();
  const root = trees.root(receipts(20_000, 1), abort.signal);
  abort.abort();
  await expect(root).rejects.toThrow(/abort/i);
  expect(await trees.root(receipts(5, 3), never)).toMatch(/^0x/);
});
