import { pino } from "pino";
import { expect, test } from "vitest";
import { closing } from "./part.ts";

/** Closes components opened in this order, last first; returns the calls and what was logged. */
async function closeAll(...steps: (() => Promise<void> | void)[]) {
  const logged: { component: string; msg: string }[] = [];
  const logger = pino({}, { write: (line: string) => void logged.push(JSON.parse(line)) });
  const parts = new AsyncDisposableStack();
  for (const [index, step] of steps.entries()) parts.use(closing({ logger, closeMs: 50 }, `${index}`, step));
  await parts.disposeAsync();
  return logged.map(({ component, msg }) => `${component}: ${msg}`);
}

test("components close in the reverse order of opening, each after the one before", async () => {
  const order: string[] = [];
  const step = (name: string) => async () => {
    order.push(`${name} closes`);
    await new Promise((resolve) => setImmediate(resolve));
    order.push(`${name} closed`);
  };
  expect(await closeAll(step("store"), step("peers"))).toEqual([]);
  expect(order).toEqual(["peers closes", "peers closed", "store closes", "store closed"]);
});

test("a component that hangs or fails is logged and keeps no other one open", async () => {
  let closed = false;
  const logged = await closeAll(
    () => {
      closed = true;
    },
    () => new Promise(() => {}),
    () => Promise.reject(new Error("broken")),
    () => {
      throw new Error("broken at once");
    },
  );
  expect(logged).toEqual([
    "3: component failed to close",
    "2: component failed to close",
    "1: component did not close in time",
  ]);
  expect(closed).toBe(true);
});
