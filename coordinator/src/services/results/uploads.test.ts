import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { describe, expect, it } from "vitest";
import { type Upload, UploadBudget } from "./uploads.ts";

const aBudget = (maxBytes: number, clock = new ManualClock()) => new UploadBudget({ clock }, { maxBytes });

/** Whether an upload has its memory, in the order given. */
async function areStored(...uploads: Upload[]): Promise<boolean[]> {
  const has = uploads.map(() => false);
  for (const [index, { stored }] of uploads.entries()) void stored.then(() => (has[index] = true));
  await new Promise((resolve) => setImmediate(resolve));
  return has;
}

describe("the memory of uploads", () => {
  it("goes to who came first, however little the next ones want", async () => {
    const budget = aBudget(100);
    const first = budget.open(60);
    const [large, small] = [budget.open(80), budget.open(10)];
    expect(await areStored(first, large, small)).toEqual([true, false, false]);
    first.release();
    expect(await areStored(large, small)).toEqual([true, true]);
  });

  it("goes past an upload that is given up while it waits", async () => {
    const budget = aBudget(100);
    budget.open(60);
    const [gone, next] = [budget.open(80), budget.open(40)];
    gone.release();
    gone.release();
    // Whoever waits for the one that was given up waits no longer.
    expect(await areStored(gone, next)).toEqual([true, true]);
    expect(await areStored(budget.open(1))).toEqual([false]);
  });

  it("is all for an output that may need more than there is", async () => {
    const budget = aBudget(100);
    const first = budget.open(10);
    const [huge, next] = [budget.open(1_000), budget.open(1)];
    expect(await areStored(huge, next)).toEqual([false, false]);
    first.release();
    expect(await areStored(huge, next)).toEqual([true, false]);
    huge.release();
    expect(await areStored(next)).toEqual([true]);
  });
});

describe("an upload", () => {
  it("takes chunks in order and no more than its task allows", () => {
    const upload = aBudget(100).open(10);
    upload.add(0n, Buffer.from("abc"));
    upload.add(3n, Buffer.from("def"));
    expect(Buffer.from(upload.bytes).toString()).toBe("abcdef");
    expect(() => upload.add(7n, Buffer.from("x"))).toThrow("without gaps");
    expect(() => upload.add(6n, Buffer.from("12345"))).toThrow("at most 10 bytes");
    expect(() => upload.add(6n, Buffer.alloc(0))).toThrow("1 to 65536 bytes");
    upload.add(0n, Buffer.from("xy"));
    expect(Buffer.from(upload.bytes).toString()).toBe("xy");
  });

  it("keeps the chunks that arrive while it waits for memory", async () => {
    const budget = aBudget(80);
    const first = budget.open(80);
    const upload = budget.open(10);
    upload.add(0n, Buffer.from("never"));
    upload.add(0n, Buffer.from("abc"));
    upload.add(3n, Buffer.from("def"));
    expect(() => upload.add(5n, Buffer.from("x"))).toThrow("without gaps");
    expect(upload.bytes).toHaveLength(0);
    first.release();
    await upload.stored;
    upload.add(6n, Buffer.from("g"));
    expect(Buffer.from(upload.bytes).toString()).toBe("abcdefg");
  });

  it("makes its sender wait when the memory for waiting chunks is used up, too", async () => {
    // An eighth, 10 bytes, is for chunks that wait.
    const budget = aBudget(80);
    const first = budget.open(80);
    const [one, other] = [budget.open(20), budget.open(20)];
    expect(one.add(0n, Buffer.from("12345678"))).toBeUndefined();
    const blocked = other.add(0n, Buffer.from("abc"));
    expect(blocked).toBeInstanceOf(Promise);
    // What the first one no longer needs another may use.
    one.add(0n, Buffer.from("1"));
    const third = budget.open(20);
    expect(third.add(0n, Buffer.from("xyz"))).toBeUndefined();
    first.release();
    await blocked;
    expect([one, other, third].map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(["1", "abc", "xyz"]);
  });

  it("gives the memory of its waiting chunks back when it is given up", () => {
    const budget = aBudget(80);
    budget.open(80);
    const gone = budget.open(20);
    gone.add(0n, Buffer.alloc(10));
    gone.release();
    expect(budget.open(20).add(0n, Buffer.alloc(10))).toBeUndefined();
  });

  it("is too slow when it drips for a minute, and not when it flows", () => {
    const clock = new ManualClock();
    const budget = aBudget(2 ** 30, clock);
    const [drips, flows] = [budget.open(2 ** 24), budget.open(2 ** 24)];
    for (let second = 0; second < 61; second++) {
      expect(drips.isSlow(clock.monotonic())).toBe(false);
      drips.add(BigInt(second), Buffer.alloc(1));
      flows.add(BigInt(second * 40_000), Buffer.alloc(40_000));
      clock.advance(1_000);
    }
    expect(drips.isSlow(clock.monotonic())).toBe(true);
    expect(flows.isSlow(clock.monotonic())).toBe(false);
    // To start again buys no time.
    flows.add(0n, Buffer.alloc(1));
    expect(flows.isSlow(clock.monotonic())).toBe(true);
  });

  it("has all its time left when its memory comes late", () => {
    const clock = new ManualClock();
    const budget = aBudget(10, clock);
    const first = budget.open(10);
    const upload = budget.open(10);
    clock.advance(600_000);
    expect([upload.openFor(clock.monotonic()), upload.isSlow(clock.monotonic())]).toEqual([0, false]);
    first.release();
    clock.advance(1_000);
    expect([upload.openFor(clock.monotonic()), upload.isSlow(clock.monotonic())]).toEqual([1_000, false]);
  });
});
