import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sha256 } from "#crypto";
import { concat, toHex } from "./bytes.ts";
import { auditPaths, merkleRoot, rootFromPath } from "./merkle.ts";

/** The definition of RFC 6962, 2.1. */
function definition(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return sha256(new Uint8Array());
  if (leaves.length === 1) return sha256(Uint8Array.of(0), leaves[0]!);
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return sha256(Uint8Array.of(1), definition(leaves.slice(0, split)), definition(leaves.slice(split)));
}

const leaves = fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 70 });

describe("Merkle tree of RFC 6962", () => {
  it("has the root of the definition", () => {
    expect(merkleRoot([])).toEqual(definition([]));
    fc.assert(
      fc.property(leaves, (all) => {
        expect(toHex(merkleRoot(all))).toBe(toHex(definition(all)));
      }),
    );
  });

  it("verifies every leaf at its index, in trees of every size", () => {
    for (let size = 1; size <= 130; size++) {
      const all = Array.from({ length: size }, (_, i) => Uint8Array.of(i));
      const root = toHex(merkleRoot(all));
      for (const [index, path] of auditPaths(all).entries()) {
        expect(toHex(rootFromPath(all[index]!, index, size, path))).toBe(root);
      }
    }
  });

  const place = leaves.chain((all) => fc.record({ all: fc.constant(all), index: fc.nat(all.length - 1) }));

  it("refuses a leaf or a path with any bit flipped", () => {
    fc.assert(
      fc.property(place, fc.nat(), ({ all, index }, pick) => {
        const path = auditPaths(all)[index]!;
        const parts = [all[index]!, ...path].map((part) => part.slice());
        const bits = parts.reduce((sum, part) => sum + part.length * 8, 0);
        fc.pre(bits > 0);
        let bit = pick % bits;
        for (const part of parts) {
          if (bit >= 0 && bit < part.length * 8) part[bit >> 3]! ^= 1 << (bit & 7);
          bit -= part.length * 8;
        }
        const [leaf, ...flipped] = parts;
        expect(toHex(rootFromPath(leaf!, index, all.length, flipped))).not.toBe(toHex(merkleRoot(all)));
      }),
    );
  });

  it("refuses a path of another index or length", () => {
    fc.assert(
      fc.property(place, fc.nat(80), fc.integer({ min: 1, max: 80 }), ({ all, index }, otherIndex, otherSize) => {
        fc.pre(otherIndex !== index || otherSize !== all.length);
        const distinct = all.map((leaf, i) => concat(Uint8Array.of(i), leaf));
        const path = auditPaths(distinct)[index]!;
        const root = toHex(merkleRoot(distinct));
        const outcome = () => toHex(rootFromPath(distinct[index]!, otherIndex, otherSize, path));
        // In a tree of another size the path may still lead to the same root, but only with the same turns.
        const turns = (at: number, size: number) => {
          const way: string[] = [];
          for (let last = size - 1; last > 0; at >>= 1, last >>= 1) {
            if (at % 2 === 1) way.push("left");
            else if (at < last) way.push("right");
          }
          return way.join();
        };
        fc.pre(turns(otherIndex, otherSize) !== turns(index, all.length));
        try {
          expect(outcome()).not.toBe(root);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
    );
  });

  it("lets no inner node pass for a leaf", () => {
    const all = [1, 2, 3, 4].map((i) => Uint8Array.of(i));
    const hashed = all.map((leaf) => sha256(Uint8Array.of(0), leaf));
    const left = concat(hashed[0]!, hashed[1]!);
    const right = sha256(Uint8Array.of(1), hashed[2]!, hashed[3]!);
    expect(toHex(rootFromPath(left, 0, 2, [right]))).not.toBe(toHex(merkleRoot(all)));
    expect(toHex(rootFromPath(concat(Uint8Array.of(1), left), 0, 2, [right]))).not.toBe(toHex(merkleRoot(all)));
  });

  it.each([
    [0, 0, 0],
    [5, 5, 3],
    [-1, 5, 3],
    [0.5, 5, 3],
    [0, 8, 2],
    [0, 8, 4],
  ])("has no leaf %d of %d with a path of %d", (index, size, length) => {
    const path = Array.from({ length }, () => new Uint8Array(32));
    expect(() => rootFromPath(new Uint8Array(), index, size, path)).toThrow(RangeError);
  });

  it("accepts only hashes of 32 bytes", () => {
    expect(() => rootFromPath(new Uint8Array(), 0, 2, [new Uint8Array(31)])).toThrow(RangeError);
  });
});
