import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { packJobs, unpackJobs } from "./check-jobs.ts";

test("jobs come out of their buffer as they went in, outputs of no length included", () => {
  const jobs = [0, 1, 4_096].map((length, k) => ({
    assignmentId: new Uint8Array(randomBytes(16)),
    taskId: new Uint8Array(randomBytes(16)),
    nodeId: new Uint8Array(randomBytes(32)),
    specDigest: new Uint8Array(randomBytes(32)),
    outputDigest: new Uint8Array(randomBytes(32)),
    n: 64,
    k,
    output: new Uint8Array(randomBytes(length)),
  }));
  const packed = packJobs(jobs);
  expect(packed.bytes.buffer.byteLength).toBe(packed.bytes.length);
  // As the other thread gets it.
  const unpacked = unpackJobs(structuredClone(packed, { transfer: [packed.bytes.buffer] }));
  expect(unpacked).toEqual(jobs);
});

test("an output in shared memory is not copied", () => {
  const output = new Uint8Array(new SharedArrayBuffer(100)).subarray(0, 90);
  const head = new Uint8Array(32);
  const id = new Uint8Array(16);
  const digests = { nodeId: head, specDigest: head, outputDigest: head };
  const job = { assignmentId: id, taskId: id, ...digests, n: 64, k: 2, output };
  const copied = { ...job, output: new Uint8Array([1, 2, 3]) };
  const unpacked = unpackJobs(structuredClone(packJobs([copied, job, copied])));
  output[89] = 7;
  expect(unpacked.map(({ output: one }) => [one.length, one.at(-1)])).toEqual([
    [3, 3],
    [90, 7],
    [3, 3],
  ]);
});
