import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const MAIN = fileURLToPath(new URL("../../bench/main.ts", import.meta.url));

test("the dispatch bench runs all contenders and prints one JSON object", async () => {
  const args = [MAIN, "dispatch", "--seconds", "1", "--rounds", "1", "--json"];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const report = JSON.parse(stdout);
  expect(report).toEqual({
    name: "dispatch",
    machine: expect.stringContaining("Node"),
    results: expect.any(Array),
    ratios: { echo: expect.any(Number), v1: expect.any(Number) },
  });
  const metrics = ["dispatch", "echo", "v1"].flatMap((name) => [name, `${name} latency p50`, `${name} latency p99`]);
  expect(report.results.map(({ metric }: { metric: string }) => metric)).toEqual(metrics);
  for (const { value } of report.results) expect(value).toBeGreaterThan(0);
});
