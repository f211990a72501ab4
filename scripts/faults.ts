/**
 * `npm run test:faults`: runs networks of real programs under faults, one after another, each with its seed, until the
 * time is over or a check fails. Then the exit code is 1, and the output has the seed and the folder with all logs.
 */
import { createHash } from "node:crypto";
import { reportOutcome, summarize } from "@proof-of-compute/tests/faults/network/report";
import { type Outcome, runFaults } from "@proof-of-compute/tests/faults/network/run";
import { Command, InvalidArgumentError, Option } from "commander";

/** Minutes of faults for each network; then it has to come to rest, and is checked. */
const RUN_MINUTES = 2;

interface Options {
  readonly seed: number;
  readonly minutes: number;
  readonly coordinators: number;
  readonly daemons: number;
  readonly store: "sqlite" | "mongodb";
  readonly keep?: boolean;
}

function count(min: number) {
  return (text: string): number => {
    const number = Number(text);
    if (!Number.isInteger(number) || number < min) throw new InvalidArgumentError(`a whole number, at least ${min}`);
    return number;
  };
}

function minutes(text: string): number {
  const number = Number(text);
  if (!(number > 0)) throw new InvalidArgumentError("a number above 0");
  return number;
}

/** The seed of the next run. */
function nextSeed(seed: number): number {
  return createHash("sha256").update(String(seed)).digest().readUInt32BE() >>> 1;
}

const program = new Command("test:faults")
  .description(
    "Puts networks of real programs under a seeded schedule of faults, and checks that nothing was lost or doubled.",
  )
  .option(
    "--seed <number>",
    "of the first network's schedule; the same seed gives the same faults",
    count(0),
    Date.now() % 2 ** 31,
  )
  .option("--minutes <number>", `of faults, ${RUN_MINUTES} a network`, minutes, RUN_MINUTES)
  .option("--coordinators <number>", "with more than one they share a MongoDB", count(1), 3)
  .option("--daemons <number>", "with one or two slots each", count(1), 10)
  .addOption(new Option("--store <name>").choices(["mongodb", "sqlite"]).default("mongodb"))
  .option("--keep", "keep logs and data even if no check fails")
  .parse();
const { seed: first, minutes: total, coordinators, daemons, store, keep } = program.opts<Options>();
if (store === "sqlite" && coordinators > 1)
  program.error("error: a SQLite store has one coordinator: --coordinators 1");

const outcomes: Outcome[] = [];
let seed = first;
for (let left = total; left > 0; left -= RUN_MINUTES, seed = nextSeed(seed)) {
  const durationMs = Math.min(left, RUN_MINUTES) * 60_000;
  console.log(`\nseed ${seed}: ${coordinators} coordinators, ${daemons} daemons, ${durationMs / 60_000} min of faults`);
  const outcome = await runFaults({
    ...{ seed, durationMs, coordinators, daemons, store },
    ...(keep && { keep }),
    onProgress: ({ seconds, accepted, ended, faults }) =>
      console.log(
        `  ${(seconds / 60).toFixed(1)} min: ${accepted} tasks accepted, ${ended} seen to end, ${faults} faults`,
      ),
  });
  outcomes.push(outcome);
  console.log(reportOutcome(outcome));
  if (outcome.violations.length > 0) break;
}
console.log(`\n${summarize(outcomes)}`);
process.exit(outcomes.some(({ violations }) => violations.length > 0) ? 1 : 0);
