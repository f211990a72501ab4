import { defineConfig } from "vitest/config";

/** One kind of test: where its files are and how long one test may take before it counts as hung. */
function project(name: string, include: string[], testTimeout: number, fileParallelism = true) {
  return { extends: true as const, test: { name, include, testTimeout, hookTimeout: testTimeout, fileParallelism } };
}

export default defineConfig({
  test: {
    environment: "node",
    // Processes, not threads: tests start worker threads and native modules of their own and send signals.
    pool: "forks",
    // The machine that has to pass has two cores; more workers only stretch every time-out.
    maxWorkers: 2,
    passWithNoTests: false,
    projects: [
      project("unit", ["{proto,coordinator,daemon,hub}/src/**/*.test.ts", "{scripts,bench}/**/*.test.ts"], 30_000),
      project("contracts", ["tests/contracts/**/*.test.ts"], 120_000),
      project("conformance", ["tests/conformance/**/*.test.ts"], 120_000),
      // Whole networks: several processes and a browser each, hence one after the other.
      project("e2e", ["tests/e2e/**/*.test.ts"], 180_000, false),
      project("faults", ["tests/faults/!(settlement)*.test.ts"], 300_000, false),
      // One coordinator's settlement and a chain, within the test's process.
      project("settlement", ["tests/faults/settlement*.test.ts"], 300_000),
      project("hub", ["tests/hub/**/*.test.ts"], 120_000, false),
    ],
  },
});
