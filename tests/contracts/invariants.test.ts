import { type Address, type Hex, type ReceiptLeaf, receiptTree } from "@proof-of-compute/proto";
import { getAddress } from "ethers";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ContractFixture } from "../support/contract.ts";

const ROOT = `0x${"11".repeat(32)}`;
const MAX_UNITS = 2n ** 96n - 1n;

const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((raw): Hex => `0x${Buffer.from(raw).toString("hex")}`);
const address = bytes(20).map((hex) => getAddress(hex) as Address);
const receipt: fc.Arbitrary<ReceiptLeaf> = fc.record({
  receiptId: bytes(16),
  taskId: bytes(16),
  nodeId: bytes(32),
  provider: address,
  requester: address,
  kind: fc.integer({ min: 0, max: 255 }),
  assurance: fc.integer({ min: 0, max: 255 }),
  specDigest: bytes(32),
  resultDigest: bytes(32),
  units: fc.bigInt({ min: 0n, max: MAX_UNITS }),
  acceptedAt: fc.maxSafeNat(),
});

let it: ContractFixture;

beforeAll(async () => {
  it = await ContractFixture.deploy();
});
afterAll(async () => {
  await it.end();
});

/** A call to the contract. */
type Deed =
  | { readonly does: "recordCompute"; readonly provider: Address }
  | { readonly does: "recordBatch"; readonly step: number; readonly credits: readonly [Address, bigint][] };

test("no call creates or loses units, and batch ids increase by one", async () => {
  // Few providers, so that they repeat. The contract must refuse steps other than 0, and units of 0.
  const providers = ["0x01", "0x02", "0x03", "0x00"].map((byte) => getAddress(byte.padEnd(42, "0")) as Address);
  const provider = fc.constantFrom(...providers);
  const units = fc.oneof(fc.bigInt({ min: 1n, max: MAX_UNITS }), fc.constantFrom(0n, 1n, MAX_UNITS));
  const deed: fc.Arbitrary<Deed> = fc.oneof(
    fc.record({ does: fc.constant("recordCompute" as const), provider }),
    fc.record({
      does: fc.constant("recordBatch" as const),
      step: fc.constantFrom(0, 0, 0, 0, -1, 1),
      credits: fc.array(fc.tuple(provider, units), { maxLength: 6 }),
    }),
  );
  let accepted = 0;
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(deed, { minLength: 1, maxLength: 12 }), async (deeds) => {
      const restore = await it.snapshot();
      const owed = new Map<Address, bigint>(providers.map((known) => [known, 0n]));
      let next = 1n;
      let inEvents = 0n;
      for (const one of deeds) {
        const credits: readonly [Address, bigint][] = one.does === "recordCompute" ? [[one.provider, 1n]] : one.credits;
        const valid =
          credits.length > 0 &&
          credits.every(([who, what]) => BigInt(who) !== 0n && what > 0n) &&
          (one.does === "recordCompute" || one.step === 0);
        const call =
          one.does === "recordCompute"
            ? it.send(it.owner, "recordCompute", one.provider)
            : it.send(it.recorder, "recordBatch", next + BigInt(one.step), ROOT, credits);
        const done = await call.catch(() => undefined);
        expect(done !== undefined).toBe(valid);
        if (!done) {
          refused++;
          continue;
        }
        accepted++;
        for (const [who, what] of credits) owed.set(who, owed.get(who)! + what);
        if (one.does === "recordCompute") inEvents += 1n;
        else next++;
        for (const [name, , , , sum] of it.events(done)) if (name === "BatchRecorded") inEvents += sum as bigint;
      }
      expect(await it.read("nextBatchId")).toBe(next);
      let onChain = 0n;
      for (const [who, what] of owed) {
        const held = (await it.read("computeUnits", who)) as bigint;
        expect(held).toBe(what);
        onChain += held;
      }
      expect(onChain).toBe(inEvents);
      await restore();
    }),
    { numRuns: 60 },
  );
  expect(Math.min(accepted, refused)).toBeGreaterThan(50);
});

test("every receipt of a recorded batch verifies, and nothing else does", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(receipt, { minLength: 1, maxLength: 12, selector: ({ receiptId }) => receiptId }),
      receipt,
      async (receipts, stranger) => {
        const restore = await it.snapshot();
        const tree = receiptTree(receipts);
        await it.send(it.recorder, "recordBatch", 1, tree.root, [[it.other.address, 1n]]);
        const verify = (leaf: ReceiptLeaf, proof: readonly string[]) => it.read("verifyReceipt", 1, leaf, proof);
        for (const [index, one] of receipts.entries()) {
          const proof = tree.proof(index);
          expect(await verify(one, proof)).toBe(true);
          expect(await verify(stranger, proof)).toBe(false);
          expect(await verify({ ...one, units: one.units ^ 1n }, proof)).toBe(false);
          // From any height of the tree: an inner node must not pass for a receipt, nor a receipt for an inner node.
          for (let height = 1; height <= proof.length; height++) {
            expect(await verify(one, proof.slice(height))).toBe(false);
            const [left, right] = [proof[height - 1]!, proof[height] ?? tree.root];
            expect(await verify(disguise(left, right), proof.slice(height + 1))).toBe(false);
          }
          expect(await verify(one, [...proof, tree.root])).toBe(false);
        }
        await restore();
      },
    ),
    { numRuns: 25 },
  );
});

/** A receipt that starts with two nodes of the tree. */
function disguise(left: string, right: string): ReceiptLeaf {
  const hex = `${left.slice(2)}${right.slice(2)}`;
  const word = (index: number, length: number): Hex =>
    `0x${hex.slice(index, index + 2 * length).padEnd(2 * length, "0")}`;
  return {
    receiptId: word(0, 16),
    taskId: word(32, 16),
    nodeId: word(64, 32),
    provider: getAddress(word(88, 20)) as Address,
    requester: getAddress(word(0, 20)) as Address,
    kind: 0,
    assurance: 0,
    specDigest: word(0, 32),
    resultDigest: word(64, 32),
    units: 0n,
    acceptedAt: 0,
  };
}
