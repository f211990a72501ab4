/**
 * What is measured: the coordinator's verdict on a result, hashing it and making its matrices included, on one thread. The
 * argument names a file with the product; the word of being ready is how many bytes of memory the first verdict took.
 */
import { readFileSync } from "node:fs";
import { sha256 } from "@proof-of-compute/proto";
import { Verifier } from "../../coordinator/src/services/verifier.ts";
import { closedLoop, contend } from "../contender.ts";
import { ASSIGNMENT, TASK } from "./load.ts";

const verifier = new Verifier({ threads: 1 });
const peakBytes = () => process.resourceUsage().maxRSS * 1024;

// A task of the smallest size first: a thread and the kernel's code are there before any result, and stay.
await verifier.check({ ...ASSIGNMENT, n: 64, k: 2, output: new Uint8Array(64 * 64), outputDigest: new Uint8Array(32) });
const before = peakBytes();
const output = readFileSync(process.argv[2]!);
const job = { ...ASSIGNMENT, ...TASK, output, outputDigest: sha256(output) };

async function judge(): Promise<void> {
  const refusal = await verifier.check(job);
  if (refusal !== undefined) throw new Error(`the coordinator refuses the product: ${refusal}`);
}

await judge();
contend(
  String(peakBytes() - before),
  (milliseconds) => closedLoop(1, milliseconds, judge),
  () => verifier.stop(),
);
