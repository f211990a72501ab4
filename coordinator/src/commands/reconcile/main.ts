/** `npm run reconcile`: compares what the store and the chain say of every batch and wallet, and repairs the store. */
import { existsSync } from "node:fs";
import { reasonOf } from "@proof-of-compute/proto";
import { refuseSecretArguments } from "@proof-of-compute/proto/secrets";
import { CommanderError } from "commander";
import { CannotFix } from "./fix.ts";
import { createProgram, type Options, readRequest } from "./options.ts";
import { type Outcome, reconcile } from "./reconcile.ts";
import { render, toJson } from "./report.ts";

const EXIT = { agree: 0, differ: 1, unknown: 2 } as const;

const QUARANTINE = `A batch that this store has lost may carry the receipts in quarantine. If you release one that was credited, it is
credited twice; if you keep one that was not, its provider is never paid. docs/reference/reconcile.md says how to decide.
`;

function print({ report, where }: Outcome, options: Options): void {
  if (options.json) {
    console.log(toJson(report));
    return;
  }
  console.log([where, "", ...render(report, options.all === true), ""].join("\n"));
  if (report.quarantined.length > 0) console.log(QUARANTINE);
  const advice = options.fix ? "" : " `npm run reconcile -- --fix` repairs the store; stop every coordinator first.";
  console.log(report.agree ? "Both sides agree." : `The two sides do not agree.${advice}`);
}

async function main(): Promise<number> {
  refuseSecretArguments(process.argv.slice(2), ["--release-quarantine"]);
  const options = createProgram().exitOverride().parse().opts<Options>();
  const say = (line: string) => (options.json ? console.error(line) : console.log(line));
  if (existsSync(".env")) process.loadEnvFile();
  const outcome = await reconcile(options, readRequest(options, process.env), say);
  print(outcome, options);
  return outcome.report.agree ? EXIT.agree : EXIT.differ;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.exitCode = error instanceof CannotFix ? EXIT.differ : EXIT.unknown;
  // Commander has already printed the error or its help.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.agree : EXIT.unknown;
  else console.error(`reconcile: ${reasonOf(error)}`);
}
