/**
 * Asks for many tasks so that each is asked for once, whatever happens: every request has a key of its own, and a request
 * that failed for a passing reason is sent again under the same key.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { ProblemError, Requester, type Task, type TaskRequest } from "./client.ts";

const TASKS = 20;
/** Requests under way at once. */
const AT_ONCE = 4;
/** Enough for a coordinator that restarts. */
const TRIES = 10;

/** Whether the same request may succeed later: limits (429), a coordinator that drains or lost its store (503), no answer. */
function isPassing(error: unknown): boolean {
  return error instanceof ProblemError ? error.status === 429 || error.status === 503 : error instanceof TypeError;
}

async function dispatchOnce(requester: Requester, request: TaskRequest, key: string): Promise<Task> {
  for (let tried = 1; ; tried++) {
    try {
      return await requester.dispatch(request, key);
    } catch (error) {
      if (tried === TRIES || !isPassing(error)) throw error;
      const seconds = error instanceof ProblemError ? error.retryAfter : undefined;
      await sleep(1_000 * (seconds ?? 1));
    }
  }
}

const requester = await Requester.signIn();
const tasks = new Map<string, Task>();

// In a real program the key comes from the order, the job or the row that the task is for, so that it survives a restart.
const keys = Array.from({ length: TASKS }, (_, at) => `matrix-${at}`);
const request: TaskRequest = { kind: "matmul", matmul: { n: 256, k: 2 } };
const waiting = keys.values();
async function work(): Promise<void> {
  for (const key of waiting) tasks.set(key, await dispatchOnce(requester, request, key));
}
await Promise.all(Array.from({ length: AT_ONCE }, work));
console.log(`asked for ${tasks.size} tasks`);

// Once more under the first key: the answer is the task that the first request made.
const again = await requester.dispatch(request, keys[0]!);
console.log(again.id === tasks.get(keys[0]!)!.id ? "the first request again: the same task" : "a second task!");

// Another request under a key that was used is refused.
try {
  await requester.dispatch({ kind: "matmul", matmul: { n: 512, k: 2 } }, keys[0]!);
} catch (error) {
  if (!(error instanceof ProblemError) || error.code !== "IDEMPOTENCY_MISMATCH") throw error;
  console.log(error.message);
}

let units = 0n;
for (let task of tasks.values()) {
  while (task.receiptId === undefined) {
    if (task.error) throw new Error(`${task.id} ${task.state}: ${task.error.detail}`);
    await sleep(200);
    task = await requester.task(task.id);
  }
  units += BigInt(task.units!);
}
console.log(`${tasks.size} tasks verified, ${units} units`);
