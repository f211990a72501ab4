import { expect, it } from "vitest";
import { mongoOrSkip } from "../support/mongo.ts";
import { reportOutcome, summarize } from "./network/report.ts";
import { runFaults } from "./network/run.ts";

/** The same faults in every run of the tests; `npm run test:faults` tries others. */
const SEED = Number(process.env.SEED ?? 86);

it(`loses and doubles nothing while two coordinators, four daemons, MongoDB, chain and paths fail (SEED=${SEED})`, async (context) => {
  const init = { seed: SEED, durationMs: 15_000, coordinators: 2, daemons: 4, store: "mongodb" } as const;
  const outcome = await mongoOrSkip(context, runFaults(init));
  console.log(summarize([outcome]));
  if (outcome.violations.length > 0) expect.fail(reportOutcome(outcome));
  expect(outcome.faults.size, "the seed plans too few faults").toBeGreaterThan(3);
}, 400_000);
