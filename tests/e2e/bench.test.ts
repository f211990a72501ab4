import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { mongoOrSkip } from "../support/mongo.ts";

const MAIN = fileURLToPath(new URL("../../bench/main.ts", import.meta.url));

interface Report {
  readonly results: readonly { readonly metric: string; readonly value: number }[];
}

async function run(...options: string[]): Promise<Report> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    MAIN,
    "dispatch",
    "--rounds",
    "1",
    "--json",
    ...options,
  ]);
  return JSON.parse(stdout);
}

function metricsOf(...names: string[]): string[] {
  return names.flatMap((name) => [name, `${name} latency p50`, `${name} latency p99`]);
}

test("the dispatch bench runs all contenders and prints one JSON object", async () => {
  const report = await run("--seconds", "1");
  expect(report).toEqual({
    name: "dispatch",
    machine: expect.stringContaining("Node"),
    results: expect.any(Array),
    ratios: { echo: expect.any(Number), v1: expect.any(Number) },
  });
  expect(report.results.map(({ metric }) => metric)).toEqual(metricsOf("dispatch", "echo", "v1"));
  for (const { value } of report.results) expect(value).toBeGreaterThan(0);
});

test("MongoDB takes part when it is asked for, and the report says which one it was", async (context) => {
  const mongo = await mongoOrSkip(context);
  // A stand-in takes seconds for what is in flight.
  const report = await run("--seconds", "5", "--store", "mongodb");
  expect(report).toMatchObject({
    ratios: { mongodb_to_sqlite: expect.any(Number) },
    notes: [expect.stringContaining(mongo.description)],
  });
  expect(report.results.map(({ metric }) => metric)).toEqual(
    metricsOf("dispatch", "dispatch on mongodb", "echo", "v1"),
  );
});
