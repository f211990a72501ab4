/**
 * What is measured: what a verifier's thread does with a result, hashing it and making its matrices included. The argument names
 * a file with the product; the word of being ready is how many bytes of memory the first check took.
 */
import { readFileSync } from "node:fs";
import { equal, sha256 } from "@proof-of-compute/proto";
import { checkProduct, matmulSeed } from "@proof-of-compute/proto/kinds/matmul";
import { contend } from "../contender.ts";
import { laps } from "./laps.ts";
import { ASSIGNMENT, TASK } from "./load.ts";

const peakBytes = () => process.resourceUsage().maxRSS * 1024;

// A task of the smallest size first: the kernel's code is there before any result, and stays.
checkProduct({ seed: matmulSeed(ASSIGNMENT), n: 64, k: 2 }, new Uint8Array(64 * 64), new Uint8Array(32));
const before = peakBytes();
const output = readFileSync(process.argv[2]!);
const signed = sha256(output);

async function check(): Promise<void> {
  const digest = sha256(output);
  const right = equal(digest, signed) && checkProduct({ seed: matmulSeed(ASSIGNMENT), ...TASK }, output, digest);
  if (!right) throw new Error("the check refuses the product");
}

await check();
contend(
  String(peakBytes() - before),
  (milliseconds) => laps(1, milliseconds, check),
  () => {},
);
