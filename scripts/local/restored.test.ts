import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { expect, test } from "vitest";
import { untilRestored } from "./restored.ts";
import { LocalError } from "./terminal.ts";

const SECOND = 1_000;

/** Waits for `total` batches on a clock that the test moves; `lines` is the output. */
function wait(total: number, look: () => Promise<{ back: number; recordedUnits: string }>) {
  const clock = new ManualClock();
  const lines: string[] = [];
  const say = (label: string, line: string) => lines.push(`${label}: ${line}`);
  const { signal } = new AbortController();
  let outcome: unknown = "waits";
  untilRestored({ look, clock, say }, total, signal).then(
    () => {
      outcome = "done";
    },
    (error: unknown) => {
      outcome = error;
    },
  );
  return { clock, lines, outcome: () => outcome };
}

test("waits while there is progress, and prints it", async () => {
  // First the store sets batches back that the new chain lacks, then sends them again: 500 s in total.
  const now = { back: 0, recordedUnits: 10 };
  const waiting = wait(3_000, async () => ({ back: now.back, recordedUnits: String(now.recordedUnits) }));
  for (; now.recordedUnits > 0; now.recordedUnits--) await waiting.clock.run(20 * SECOND, SECOND);
  expect(waiting.outcome()).toBe("waits");
  for (; now.back < 3_000; now.back += 500) await waiting.clock.run(50 * SECOND, SECOND);
  await waiting.clock.run(SECOND);
  expect(waiting.outcome()).toBe("done");
  expect(waiting.lines[0]).toBe("restoring: 0 of 3,000 batches of earlier runs are on the chain");
  expect(waiting.lines.at(-1)).toBe("restoring: 2,500 of 3,000 batches of earlier runs are on the chain");
});

test("fails, with the last error as the cause, after a minute without progress", async () => {
  const why = new Error("connection refused");
  const answers = [{ back: 4, recordedUnits: "0" }];
  const waiting = wait(10, async () => {
    const answer = answers.shift();
    if (!answer) throw why;
    return answer;
  });
  await waiting.clock.run(59 * SECOND, SECOND);
  expect(waiting.outcome()).toBe("waits");
  await waiting.clock.run(2 * SECOND, SECOND);
  expect(waiting.outcome()).toBeInstanceOf(LocalError);
  expect(waiting.outcome()).toMatchObject({
    message: "batch 5 of 10 of earlier runs did not come back on the chain within 60 s",
    cause: why,
  });
});
