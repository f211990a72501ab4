import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { systemClock } from "@proof-of-compute/coordinator/adapters/system-clock";
import type { Clock } from "@proof-of-compute/coordinator/ports/clock";
import { describe, expect, test, vi } from "vitest";
import { ManualClock } from "../support/manual-clock.ts";

/** What every {@link Clock} must do; `pass` lets about `ms` pass. */
function describeClock(name: string, make: () => { clock: Clock; pass(ms: number): Promise<void> }): void {
  describe(`${name} as Clock`, () => {
    test("goes forward, in milliseconds", async () => {
      const { clock, pass } = make();
      const [wall, monotonic] = [clock.now(), clock.monotonic()];
      await pass(20);
      expect(clock.now()).toBeGreaterThan(wall);
      expect(clock.monotonic()).toBeGreaterThanOrEqual(monotonic + 19);
      expect(new Date(wall).getUTCFullYear()).toBeGreaterThanOrEqual(2026);
    });

    test("calls back once, not early, and not after a cancel", async () => {
      const { clock, pass } = make();
      const calledOff = vi.fn();
      clock.after(5, calledOff)();
      const started = clock.monotonic();
      const at: number[] = [];
      clock.after(10, () => at.push(clock.monotonic()));
      while (at.length === 0) await pass(5);
      await pass(20);
      expect(at).toHaveLength(1);
      // Timers of Node may fire a fraction of a millisecond early.
      expect(at[0]! - started).toBeGreaterThanOrEqual(9);
      expect(calledOff).not.toHaveBeenCalled();
    });

    test("calls back repeatedly until it is cancelled", async () => {
      const { clock, pass } = make();
      let calls = 0;
      const stop = clock.every(5, () => calls++);
      while (calls < 3) await pass(5);
      stop();
      const atStop = calls;
      await pass(30);
      expect(calls).toBe(atStop);
    });
  });
}

describeClock("systemClock", () => ({
  clock: systemClock,
  pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
}));

describeClock("ManualClock", () => {
  const clock = new ManualClock();
  return { clock, pass: async (ms) => clock.advance(ms) };
});

test("the machine's timers do not keep a process alive", async () => {
  const module = join(import.meta.dirname, "../../coordinator/src/adapters/system-clock.ts");
  const script = `
    const { systemClock } = await import(${JSON.stringify(module)});
    systemClock.every(3_600_000, () => {});
    systemClock.after(3_600_000, () => {});`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], { stdio: "inherit" });
  expect(await once(child, "exit")).toEqual([0, null]);
});

describe("ManualClock", () => {
  test("runs timers in order of their time, and those that they set", () => {
    const clock = new ManualClock(1_000);
    const seen: [string, number][] = [];
    const note = (name: string) => () => seen.push([name, clock.now()]);
    clock.after(30, note("c"));
    clock.every(20, note("b"));
    clock.after(10, () => clock.after(5, note("a")));
    clock.advance(45);
    expect(seen).toEqual([
      ["a", 1_015],
      ["b", 1_020],
      ["c", 1_030],
      ["b", 1_040],
    ]);
    expect([clock.now(), clock.monotonic(), clock.pending]).toEqual([1_045, 45, 1]);
  });

  test("keeps its timers when the wall clock jumps", () => {
    const clock = new ManualClock(1_000);
    const callback = vi.fn();
    clock.after(10, callback);
    clock.jump(-500);
    expect([clock.now(), clock.monotonic()]).toEqual([500, 0]);
    clock.advance(9);
    expect(callback).not.toHaveBeenCalled();
    clock.advance(1);
    expect(callback).toHaveBeenCalledOnce();
  });

  test("gives the event loop a turn after its timers", async () => {
    const clock = new ManualClock();
    let finished = 0;
    clock.every(10, () => void Promise.resolve().then(() => finished++));
    await clock.run(30, 10);
    expect(finished).toBe(3);
  });
});
