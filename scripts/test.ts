/**
 * `npm test`, and with `--fast` `npm run check`: runs every check of the repository, one after another, and stops at the
 * first that fails. The last line of the output is "N passed, N failed", summed over all tests. With `--coverage` the
 * unit tests also measure which lines they run; vitest.config.ts has the thresholds.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { MongoMissing, standInClassPath } from "@proof-of-compute/tests/support/mongo-stand-in/build";
import { findMongod } from "@proof-of-compute/tests/support/mongod";
import { Command, Option } from "commander";
import { type CoverageSummary, coverageByRoom, renderCoverage } from "./lib/coverage.ts";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

interface Step {
  readonly title: string;
  /** Runs in a shell in the repository with node_modules/.bin on the path. */
  readonly command: string;
  /** Not part of `npm run check`. */
  readonly slow?: boolean;
  /** A vitest run; its tests are counted. */
  readonly tests?: boolean;
}

function vitest(project: string, title: string): Step {
  return { title, command: `vitest run --project ${project}`, tests: true, slow: project !== "unit" };
}

const UNIT = vitest("unit", "unit tests");
const CONFORMANCE = vitest("conformance", "conformance of the adapters");

const STEPS: readonly Step[] = [
  { title: "proto: lint and generated code", command: "node scripts/generate.ts" },
  { title: "format and lint", command: "biome check --error-on-warnings ." },
  { title: "contract compiles", command: "hardhat compile" },
  { title: "types", command: "tsc -p ." },
  { title: "types of the hub", command: "npm run check --workspace hub" },
  // After the hub's check, which generates the types of routes that knip has to find.
  { title: "dead code", command: "knip" },
  UNIT,
  vitest("contracts", "contract tests"),
  CONFORMANCE,
  vitest("compat", "data and messages of the version before"),
  vitest("hub", "hub in a browser"),
  vitest("e2e", "end to end"),
  vitest("settlement", "settlement under faults"),
  vitest("faults", "networks under faults"),
];

/** The part of vitest's JSON report that we read. */
interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly success: boolean;
}

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  /** Why the step failed; absent if it passed. */
  readonly fault?: string;
}

/** Runs a command. The output of a `quiet` one is shown only when it fails. Resolves to the exit code. */
function run(command: string, quiet: boolean, extra: NodeJS.ProcessEnv = {}): Promise<number> {
  const path = Object.keys(process.env).find((name) => name.toUpperCase() === "PATH") ?? "PATH";
  const env = { ...process.env, ...extra, [path]: join(ROOT, "node_modules", ".bin") + delimiter + process.env[path] };
  const stdio = quiet ? (["ignore", "pipe", "pipe"] as const) : (["ignore", "inherit", "inherit"] as const);
  const child = spawn(command, { cwd: ROOT, env, shell: true, stdio: [...stdio] });
  const output: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => output.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => output.push(chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      if (code !== 0) process.stdout.write(Buffer.concat(output));
      resolve(code ?? 1);
    });
  });
}

/** File in which tests/support/mongo.ts notes the MongoDB that it gave to tests, one line for each. */
function mongoNotes(folder: string): string {
  return join(folder, "mongodb.txt");
}

function reportMongo(folder: string): void {
  const notes = mongoNotes(folder);
  if (!existsSync(notes)) return;
  const lines = new Set(readFileSync(notes, "utf8").trimEnd().split("\n"));
  for (const line of lines) console.log(`\nMongoDB: ${line}`);
}

/** Prints coverage by room; the last lines of vitest's own report say which thresholds were missed. */
function reportCoverage(): void {
  const file = join(ROOT, "coverage", "coverage-summary.json");
  if (!existsSync(file)) return;
  const rooms = coverageByRoom(JSON.parse(readFileSync(file, "utf8")) as CoverageSummary, ROOT);
  console.log(`\n${renderCoverage(rooms)}\n\nLine by line: ${join(ROOT, "coverage", "index.html")}`);
}

async function runTests(step: Step, folder: string): Promise<Outcome> {
  const file = join(folder, "report.json");
  rmSync(file, { force: true });
  const reporters = `--reporter=default --reporter=json --outputFile.json="${file}"`;
  const code = await run(`${step.command} ${reporters}`, false, { TEST_MONGODB_NOTES: mongoNotes(folder) });
  let report: Report;
  try {
    report = JSON.parse(readFileSync(file, "utf8")) as Report;
  } catch {
    return { passed: 0, failed: 1, fault: "vitest ended without a report" };
  }
  const passed = report.numPassedTests;
  const skipped = report.numPendingTests + report.numTodoTests;
  const failed = report.numFailedTests;
  // A test skips itself only for a stated reason, such as a missing Python. In CI all tests must run.
  if (skipped > 0 && process.env.CI) {
    return { passed, failed: failed + skipped, fault: `${skipped} tests were skipped, which counts as failed in CI` };
  }
  if (skipped > 0) console.log(`    ${skipped} skipped, see above`);
  if (code !== 0 || !report.success) return { passed, failed: Math.max(failed, 1), fault: "see above" };
  if (passed === 0) return { passed, failed: 1, fault: "no test was run" };
  return { passed, failed };
}

async function runStep(step: Step, folder: string): Promise<Outcome> {
  if (step.tests) return runTests(step, folder);
  const code = await run(step.command, true);
  return code === 0 ? { passed: 0, failed: 0 } : { passed: 0, failed: 1, fault: `exit code ${code}` };
}

/**
 * Why this machine has no MongoDB, not even the stand-in; undefined if it has one. Without one the adapter's tests are
 * left out, except in CI, where they have to run.
 */
async function whyNoMongo(): Promise<string | undefined> {
  if (process.env.MONGODB_URI || process.env.CI || findMongod()) return undefined;
  try {
    await standInClassPath();
    return undefined;
  } catch (error) {
    if (error instanceof MongoMissing) return error.message;
    throw error;
  }
}

/** Reads the arguments. Prints the help or an error and exits if they are wrong. */
function readOptions(): { fast: boolean; coverage: boolean; store: string } {
  const stores = ["sqlite", "mongodb"];
  return new Command("npm test --")
    .description("Runs every check of the repository.")
    .option("--fast", "only the quick ones (npm run check)", false)
    .option("--coverage", "measure the unit tests' coverage: by room here, by line in coverage/index.html", false)
    .addOption(new Option("--store <name>", "where the coordinators store").choices(stores).default("sqlite"))
    .parse()
    .opts();
}

async function main(): Promise<void> {
  const { fast, coverage, store } = readOptions();
  process.env.TEST_STORE = store;
  const steps = STEPS.filter((step) => !fast || !step.slow);
  const folder = mkdtempSync(join(tmpdir(), "proof-of-compute-test-"));
  const noMongo = fast ? undefined : await whyNoMongo();
  let passed = 0;
  let failed = 0;
  try {
    for (const [index, step] of steps.entries()) {
      console.log(`\n[${index + 1}/${steps.length}] ${step.title}`);
      const started = performance.now();
      const reduced = noMongo !== undefined && step === CONFORMANCE;
      if (reduced) console.log(`    without the adapter for MongoDB: ${noMongo}`);
      const measured = coverage && step === UNIT;
      if (measured) rmSync(join(ROOT, "coverage"), { recursive: true, force: true });
      const extra = reduced ? ` --exclude "tests/conformance/mongo*.test.ts"` : measured ? " --coverage" : "";
      const outcome = await runStep({ ...step, command: step.command + extra }, folder);
      if (measured) reportCoverage();
      passed += outcome.passed;
      failed += outcome.failed;
      console.log(`    ${outcome.fault ? "FAILED" : "ok"}, ${((performance.now() - started) / 1000).toFixed(1)} s`);
      if (outcome.fault) {
        const alone = step.command.startsWith("npm ") ? step.command : `npx ${step.command}${extra}`;
        console.log(`\n${step.title} failed: ${outcome.fault}. To run this step alone: ${alone}`);
        break;
      }
    }
    reportMongo(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  console.log(`\n${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

await main();
