/**
 * Follows a task by server-sent events from the request to the chain. Each event carries the whole task, so a reader that
 * missed some is up to date with the next one.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Requester, type Task } from "./client.ts";

const FINAL: readonly Task["state"][] = ["recorded", "failed", "cancelled"];

/** Events of one connection. The coordinator ends it after a final state; a proxy may end it earlier. */
async function* events(requester: Requester, path: string, lastEventId: string) {
  const response = await requester.request("GET", path, undefined, lastEventId ? { "last-event-id": lastEventId } : {});
  let text = "";
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    const blocks = (text + chunk).split("\n\n");
    text = blocks.pop()!;
    for (const block of blocks) {
      const fields = new Map(block.split("\n").map((line) => line.split(/: ?(.*)/s, 2) as [string, string]));
      const data = fields.get("data");
      // A comment keeps the connection alive; `retry` is for browsers.
      if (data !== undefined) yield { id: fields.get("id") ?? "", task: JSON.parse(data) as Task };
    }
  }
}

/** Every state of a task until its final one. Connects again after a lost connection, where it left off. */
async function* follow(requester: Requester, id: string): AsyncGenerator<Task> {
  let lastEventId = "";
  for (;;) {
    for await (const event of events(requester, `/api/tasks/${id}/events`, lastEventId)) {
      lastEventId = event.id;
      yield event.task;
      if (FINAL.includes(event.task.state)) return;
    }
    await sleep(1_000);
  }
}

const requester = await Requester.signIn();
const { id } = await requester.dispatch({ kind: "matmul", matmul: { n: 1024, k: 5 } }, crypto.randomUUID());
for await (const task of follow(requester, id)) {
  const { state, waitingReason, progress, receiptId, batch, error } = task;
  console.log(state, waitingReason ?? error?.detail ?? "", {
    ...(state === "running" && progress !== undefined && { progress }),
    ...(receiptId && { receiptId }),
    ...(batch && { batch: batch.id }),
  });
}
