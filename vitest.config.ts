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
    coverage: {
      provider: "v8",
      // Every module, also those that no test loads. Worker threads and child processes are not measured.
      include: ["{proto,coordinator,daemon}/src/**/*.ts", "hub/src/lib/**/*.ts"],
      exclude: ["**/*.test.ts", "hub/src/lib/api/schema.d.ts"],
      reporter: ["text-summary", "html", "json-summary"],
      reportsDirectory: "coverage",
      // The rooms where a mistake costs somebody's work or units. Other rooms are reported; the suites of adapters and edges
      // (conformance, end to end, faults) are not measured. Raise a figure when it holds with some to spare.
      thresholds: {
        "coordinator/src/domain/**": { lines: 97, functions: 97, branches: 95, statements: 97 },
        "coordinator/src/services/**": { lines: 92, functions: 90, branches: 80, statements: 90 },
      },
    },
    projects: [
      project(
        "unit",
        ["{proto,coordinator,daemon,hub}/src/**/*.test.ts", "{scripts,bench}/**/*.test.ts", "tests/*.test.ts"],
        30_000,
      ),
      project("contracts", ["tests/contracts/**/*.test.ts"], 120_000),
      project("conformance", ["tests/conformance/**/*.test.ts"], 120_000),
      // Data and messages of the version before.
      project("compat", ["tests/compat/*.test.ts"], 180_000),
      // Real programs of that version beside those of this one; not in `npm test`.
      project("compat-processes", ["tests/compat/processes/*.test.ts"], 300_000, false),
      // Whole networks: several processes and a browser each, hence one after the other.
      project("e2e", ["tests/e2e/**/*.test.ts"], 180_000, false),
      project("faults", ["tests/faults/!(settlement)*.test.ts"], 300_000, false),
      // One coordinator's settlement and a chain, within the test's process.
      project("settlement", ["tests/faults/settlement*.test.ts"], 300_000),
      project("hub", ["tests/hub/**/*.test.ts"], 120_000, false),
    ],
  },
});
