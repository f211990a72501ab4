import { afterEach, beforeEach } from "vitest";
import { BothSides } from "./both-sides.ts";
import { Settling } from "./settling.ts";

/** What the running test has of its own: receipts, a chain, and what settles the ones on the other. */
export let it: Settling;
export let sides: BothSides;

/** Gives each test of the file, or of the block, a settlement of its own. */
export function useSettling(...init: Parameters<typeof Settling.begin>): void {
  beforeEach(async () => {
    it = await Settling.begin(...init);
    sides = new BothSides(it);
  });
  afterEach(async () => {
    await it.end();
  });
}
