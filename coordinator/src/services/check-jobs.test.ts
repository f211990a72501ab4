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
