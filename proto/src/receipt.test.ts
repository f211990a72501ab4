import { StandardMerkleTree } from "@openzeppelin/merkle-tree";
import { vectors } from "@proof-of-compute/tests/support/vectors";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressFromBytes } from "./address.ts";
import { type Hex, toHex } from "./bytes.ts";
import { type ReceiptLeaf, receiptLeaf, receiptTree, verifyReceiptProof } from "./receipt.ts";

const { types, receipts: known, roots } = vectors("receipts");
const receipts: ReceiptLeaf[] = known.map((receipt) => ({ ...receipt, units: BigInt(receipt.units) }));

const hex = (size: number) => fc.uint8Array({ minLength: size, maxLength: size }).map(toHex);
const address = fc.uint8Array({ minLength: 20, maxLength: 20 }).map(addressFromBytes);
const receipt: fc.Arbitrary<ReceiptLeaf> = fc.record({
  receiptId: hex(16),
  taskId: hex(16),
  nodeId: hex(32),
  provider: address,
  requester: address,
  kind: fc.nat(255),
  assurance: fc.nat(255),
  specDigest: hex(32),
  resultDigest: hex(32),
  units: fc.bigInt({ min: 0n, max: 2n ** 96n - 1n }),
  acceptedAt: fc.maxSafeNat(),
});

/** In the order of the contract's struct. */
const fields = Object.keys(known[0]!).filter((field) => field !== "leaf") as (keyof ReceiptLeaf)[];
const values = (leaf: ReceiptLeaf) => fields.map((field) => leaf[field]);

describe("receipt", () => {
  it("has the leaves of the vectors", () => {
    for (const [i, one] of receipts.entries()) expect(receiptLeaf(one)).toBe(known[i]!.leaf);
  });

  it.each(Object.keys(roots))("has the vectors' root of the first %s", (size) => {
    const batch = receipts.slice(0, Number(size));
    const tree = receiptTree(batch);
    expect(tree.root).toBe(roots[size]);
    for (const [i, one] of batch.entries()) {
      expect(verifyReceiptProof(tree.root, receiptLeaf(one), tree.proof(i))).toBe(true);
    }
  });

  it("equals OpenZeppelin's StandardMerkleTree", () => {
    fc.assert(
      fc.property(fc.array(receipt, { minLength: 1, maxLength: 20 }), (batch) => {
        const tree = receiptTree(batch);
        const standard = StandardMerkleTree.of(batch.map(values), types);
        expect(tree.root).toBe(standard.root);
        for (const [i, one] of batch.entries()) {
          expect(receiptLeaf(one)).toBe(standard.leafHash(values(one)));
          expect(tree.proof(i)).toEqual(standard.getProof(i));
        }
      }),
      { numRuns: 30 },
    );
  });

  it("verifies nothing that is not in the batch", () => {
    fc.assert(
      fc.property(fc.array(receipt, { minLength: 2, maxLength: 9 }), receipt, fc.nat(), (batch, stranger, pick) => {
        const tree = receiptTree(batch);
        const index = pick % batch.length;
        const proof = tree.proof(index);
        const one = batch[index]!;
        expect(verifyReceiptProof(tree.root, receiptLeaf(stranger), proof)).toBe(false);
        expect(verifyReceiptProof(tree.root, receiptLeaf({ ...one, units: one.units ^ 1n }), proof)).toBe(false);
        const [first, ...rest] = proof;
        const flipped = `0x${(BigInt(first!) ^ 1n).toString(16).padStart(64, "0")}` as Hex;
        expect(verifyReceiptProof(tree.root, receiptLeaf(one), [flipped, ...rest])).toBe(false);
        expect(verifyReceiptProof(tree.root, receiptLeaf(one), rest)).toBe(false);
      }),
      { numRuns: 50 },
    );
  });

  it("refuses an empty batch and an index out of range", () => {
    expect(() => receiptTree([])).toThrow(RangeError);
    expect(() => receiptTree(receipts).proof(receipts.length)).toThrow(RangeError);
  });

  it.each([
    [{ units: 2n ** 96n }, /units does not fit uint96/],
    [{ units: -1n }, /units does not fit uint96/],
    [{ kind: 256 }, /kind does not fit uint8/],
    [{ kind: 0.5 }, RangeError],
    [{ kind: -1 }, /kind does not fit uint8/],
    [{ receiptId: "0x00" as Hex }, /receiptId does not fit bytes16/],
    [{ provider: "0x00" as Hex }, /provider does not fit address/],
  ])("refuses what does not fit: %s", (change, message) => {
    expect(() => receiptLeaf({ ...receipts[0]!, ...change })).toThrow(message);
  });
});
