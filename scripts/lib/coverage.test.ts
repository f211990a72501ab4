import { join } from "node:path";
import { expect, test } from "vitest";
import { type CoverageSummary, coverageByRoom, renderCoverage } from "./coverage.ts";

const ROOT = join(import.meta.dirname, "repository");

function file(lines: [covered: number, total: number], branches: [covered: number, total: number]) {
  return {
    lines: { covered: lines[0], total: lines[1] },
    branches: { covered: branches[0], total: branches[1] },
  };
}

const SUMMARY: CoverageSummary = {
  total: file([96, 100], [50, 100]),
  [join(ROOT, "proto/src/hex.ts")]: file([10, 10], [0, 0]),
  [join(ROOT, "coordinator/src/services/results/intake.ts")]: file([30, 40], [1, 4]),
  [join(ROOT, "coordinator/src/services/results/pool/jobs.ts")]: file([9, 10], [2, 2]),
  [join(ROOT, "coordinator/src/services/retention.ts")]: file([5, 5], [1, 2]),
};

test("files are summed by room, however deep they are; the total of all is no room", () => {
  expect(coverageByRoom(SUMMARY, ROOT)).toEqual([
    { room: "coordinator/src/services", ...file([5, 5], [1, 2]) },
    { room: "coordinator/src/services/results", ...file([39, 50], [3, 6]) },
    { room: "proto/src", ...file([10, 10], [0, 0]) },
  ]);
});

test("the table has a row for each room, and a dash where there is nothing to cover", () => {
  expect(renderCoverage(coverageByRoom(SUMMARY, ROOT)).split("\n")).toEqual([
    "                                      lines   branches",
    "coordinator/src/services            100.0 %     50.0 %",
    "coordinator/src/services/results     78.0 %     50.0 %",
    "proto/src                           100.0 %          -",
  ]);
});
