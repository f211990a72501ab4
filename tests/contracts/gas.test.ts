import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { gasPage, measureGas, readGasPage } from "../support/gas.ts";

const TOLERANCE = 0.02;

test("docs/reference/gas.md has the present cost of calls", async () => {
  const told = readGasPage(readFileSync(new URL("../../docs/reference/gas.md", import.meta.url), "utf8"));
  const now = readGasPage(gasPage(await measureGas()));
  expect(now.size).toBeGreaterThan(10);
  expect([...told.keys()]).toEqual([...now.keys()]);
  for (const [call, gas] of now) {
    expect(Math.abs(told.get(call)! / gas - 1), `${call}: run node scripts/gas.ts`).toBeLessThan(TOLERANCE);
  }
});
