/**
 * Loaded into coordinators and daemons of the fault suite (`node --import`):
 * - CLOCK_SHIFT_MS moves the wall clock; monotonic time stays.
 * - ACKS_FILE receives every verdict that a daemon is told, before the daemon acts on it.
 */
import { appendFileSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { toHex } from "@proof-of-compute/proto";
import { type ResultAck, Verdict } from "@proof-of-compute/proto/node";
import type { AckRecord } from "./evidence.ts";

const shift = Number(process.env.CLOCK_SHIFT_MS ?? 0);
if (shift !== 0) {
  const now = Date.now;
  Date.now = () => now() + shift;
  globalThis.Date = new Proxy(Date, {
    apply: (real) => new real(real.now()).toString(),
    construct: (real, args, type) => Reflect.construct(real, args.length === 0 ? [real.now()] : args, type),
  });
}

const file = process.env.ACKS_FILE;
if (file && isMainThread) {
  const { Tally } = await import("@proof-of-compute/daemon/tasks/tally");
  const add = Tally.prototype.add;
  Tally.prototype.add = function (ack: ResultAck) {
    const verdict = Object.entries(Verdict).find(([, value]) => value === ack.verdict)![0];
    const record: AckRecord = {
      assignmentId: toHex(ack.assignmentId),
      verdict: verdict.replace("VERDICT_", "") as AckRecord["verdict"],
      reason: ack.reason,
      units: String(ack.units),
    };
    appendFileSync(file, `${JSON.stringify(record)}\n`);
    add.call(this, ack);
  };
}
