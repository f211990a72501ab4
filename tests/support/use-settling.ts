import { afterEach, beforeEach } from "vitest";
import { BothSides } from "./both-sides.ts";
import { Settling } from "./settling.ts";

/** The running test's own store, chain and settlements. */
export let it: Settling;
export let sides: BothSides;

/** Sets up {@link it} and {@link sides} for each test of the file or block. */
export function useSettling(...init: Parameters<typeof Settling.begin>): void {
  beforeEach(async () => {
    it = await Settling.begin(...init);
    sides = new BothSides(it);
  });
  afterEach(async () => {
    await it.end();
  });
}
