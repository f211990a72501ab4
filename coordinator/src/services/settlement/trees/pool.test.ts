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
      kind: "matmul",
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

test("batches under way at once do not mix", async () => {
  const [one, two] = [receipts(3_000, 1), receipts(2_999, 2)];
  const roots = await Promise.all([trees.root(one, never), trees.root(two, never)]);
  expect(roots).toEqual([one, two].map((batch) => receiptTree(batch.map(leafOf)).root));
});

test("stops when it is told to", async () => {
  const abort = new AbortController();
  const root = trees.root(receipts(20_000, 1), abort.signal);
  abort.abort();
  await expect(root).rejects.toThrow(/abort/i);
  expect(await trees.root(receipts(5, 3), never)).toMatch(/^0x/);
});
