import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { expect, test } from "vitest";
import { ExpiringMap } from "./expiring-map.ts";

function make(capacity = 3) {
  const clock = new ManualClock();
  return { clock, map: new ExpiringMap<number>({ clock }, { ttlMs: 100, capacity }) };
}

test("keeps a value until it expires", () => {
  const { clock, map } = make();
  map.set("a", 1);
  clock.advance(99);
  expect(map.get("a")).toBe(1);
  clock.advance(1);
  expect(map.get("a")).toBeUndefined();
});

test("removes the oldest value when it is full, counting from the last time it was set", () => {
  const { clock, map } = make();
  for (const [value, key] of ["a", "b", "c"].entries()) {
    map.set(key, value);
    clock.advance(1);
  }
  map.set("a", 9);
  map.set("d", 3);
  expect(["a", "b", "c", "d"].map((key) => map.get(key))).toEqual([9, undefined, 2, 3]);
});
