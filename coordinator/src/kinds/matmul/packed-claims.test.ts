import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { packClaims, unpackClaims } from "./packed-claims.ts";

test("unpacks the claims that were packed, empty outputs included", () => {
  const claims = [0, 1, 4_096].map((length, k) => ({
    assignmentId: new Uint8Array(randomBytes(16)),
    taskId: new Uint8Array(randomBytes(16)),
    nodeId: new Uint8Array(randomBytes(32)),
    specDigest: new Uint8Array(randomBytes(32)),
    outputDigest: new Uint8Array(randomBytes(32)),
    spec: { n: 64, k },
    output: new Uint8Array(randomBytes(length)),
  }));
  const packed = packClaims(claims);
  expect(packed.bytes.buffer.byteLength).toBe(packed.bytes.length);
  // As the other thread gets it.
  const unpacked = unpackClaims(structuredClone(packed, { transfer: [packed.bytes.buffer] }));
  expect(unpacked).toEqual(claims);
});

test("does not copy an output in shared memory", () => {
  const output = new Uint8Array(new SharedArrayBuffer(100)).subarray(0, 90);
  const digest = new Uint8Array(32);
  const id = new Uint8Array(16);
  const digests = { nodeId: digest, specDigest: digest, outputDigest: digest };
  const claim = { assignmentId: id, taskId: id, ...digests, spec: { n: 64, k: 2 }, output };
  const copied = { ...claim, output: new Uint8Array([1, 2, 3]) };
  const unpacked = unpackClaims(structuredClone(packClaims([copied, claim, copied])));
  output[89] = 7;
  expect(unpacked.map(({ output: one }) => [one.length, one.at(-1)])).toEqual([
    [3, 3],
    [90, 7],
    [3, 3],
  ]);
});
