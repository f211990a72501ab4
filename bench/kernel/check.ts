/**
 * What is measured: the coordinator's verdict on a result, hashing it and making its matrices included. The argument names a file
 * with the product; the word of being ready is how many bytes of memory the first verdict took.
 */
import { readFileSync } from "node:fs";
import { matmulSeed, sha256 } from "@proof-of-compute/proto";
import { checkProduct } from "@proof-of-compute/proto/kernel";
import judge from "../../coordinator/src/services/verify-worker.ts";
import { closedLoop, contend } from "../contender.ts";
import { ASSIGNMENT, TASK } from "./load.ts";

const peakBytes = () => process.resourceUsage().maxRSS * 1024;

// A task of the smallest size first: what the kernel's code takes is there before any task and stays.
checkProduct({ seed: matmulSeed(ASSIGNMENT), n: 64, k: 2 }, new Uint8Array(64 * 64), new Uint8Array(32));
const before = peakBytes();
const output = readFileSync(process.argv[2]!);
const job = { ...ASSIGNMENT, ...TASK, output, outputDigest: sha256(output) };
const [refusal] = judge([job]);
if (refusal !== undefined) throw new Error(`the coordinator refuses the product: ${refusal}`);
const taken = peakBytes() - before;

contend(
  String(taken),
  (milliseconds) => closedLoop(1, milliseconds, async () => void judge([job])),
  () => {},
);
