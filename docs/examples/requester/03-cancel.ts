/** Cancels a task. A queued task ends at once; a running one is `cancelling` until its node has stopped. */
import { setTimeout as sleep } from "node:timers/promises";
import { ProblemError, Requester } from "./client.ts";

const requester = await Requester.signIn();

// Minutes of work for one core, so that there is something to cancel.
const { id } = await requester.dispatch({ kind: "matmul", matmul: { n: 4096, k: 17 } }, crypto.randomUUID());
let task = await requester.post<{ state: string }>(`/api/tasks/${id}/cancel`, {});
while (task.state === "cancelling") {
  console.log(task.state);
  await sleep(500);
  task = await requester.task(id);
}
console.log(task.state);

// A cancelled task has no result, no receipt and no units.
try {
  await requester.result(id);
} catch (error) {
  if (!(error instanceof ProblemError) || error.code !== "NO_RESULT") throw error;
  console.log(error.message);
}
