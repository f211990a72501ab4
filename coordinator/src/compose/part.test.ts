import { pino } from "pino";
import { expect, test } from "vitest";
import { closing } from "./part.ts";

/** Opens components with these close functions, closes them, and returns the log. */
async function closeAll(...steps: (() => Promise<void> | void)[]) {
  const logged: { component: string; msg: string }[] = [];
  const logger = pino({}, { write: (line: string) => void logged.push(JSON.parse(line)) });
  const parts = new AsyncDisposableStack();
  for (const [index, step] of steps.entries()) parts.use(closing({ logger, closeMs: 50 }, `${index}`, step));
  await parts.disposeAsync();
  return logged.map(({ component, msg }) => `${component}: ${msg}`);
}

test("closes components one after another, in the reverse order of opening", async () => {
  const order: string[] = [];
  const step = (name: string) => async () => {
    order.push(`${name} closes`);
    await new Promise((resolve) => setImmediate(resolve));
    order.push(`${name} closed`);
  };
  expect(await closeAll(step("store"), step("peers"))).toEqual([]);
  expect(order).toEqual(["peers closes", "peers closed", "store closes", "store closed"]);
});

test("logs a component that hangs or fails, and closes the others", async () => {
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
