/** Asks for a task, polls it until its result is verified, and downloads the result. */
import { setTimeout as sleep } from "node:timers/promises";
import { Requester, sha256 } from "./client.ts";

const requester = await Requester.signIn();

// "/api/config" lists the kinds of task that the network computes, with their limits and presets.
let task = await requester.dispatch({ kind: "matmul", matmul: { n: 256, k: 3 } }, crypto.randomUUID());
console.log(`task ${task.id}, worth ${task.units} units`);

while (task.receiptId === undefined) {
  if (task.error) throw new Error(`${task.state}: ${task.error.code}: ${task.error.detail}`);
  console.log(task.state, task.waitingReason ?? "");
  await sleep(500);
  task = await requester.task(task.id);
}

const result = await requester.result(task.id);
console.log(`verified: ${result.length} bytes, SHA-256 ${sha256(result)}`);
if (sha256(result) !== task.resultDigest) throw new Error(`the task says ${task.resultDigest}`);
