/** `npm run bench -- <name> [--seconds N] [--rounds N] [--store mongodb] [--json]`: measured claims, each with its peers in the same run. */
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import { dispatch } from "./dispatch.ts";
import { kernel } from "./kernel.ts";
import { type Bench, type BenchOptions, machine, type Report, table } from "./report.ts";

const BENCHES: Readonly<Record<string, Bench>> = { dispatch, kernel };

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError("It takes a number above 0.");
  return value;
}

await new Command("npm run bench --")
  .addArgument(new Argument("<name>", "what to measure").choices(Object.keys(BENCHES)))
  .option("--seconds <number>", "how long a round of one contender takes", positive, 5)
  .option("--rounds <number>", "how many rounds; medians are reported", positive, 5)
  .addOption(
    new Option("--store <store>", "dispatch: measure this store too, beside SQLite; see MONGODB_URI below").choices([
      "mongodb",
    ]),
  )
  .option("--json", "print one JSON object instead of a table")
  .addHelpText("after", () => {
    const lines = Object.entries(BENCHES).map(([name, { summary }]) => `  ${name}: ${summary}`);
    return (
      `\nBenches:\n${lines.join("\n")}\n\nThe MongoDB is that of MONGODB_URI, in a database of its own that is dropped ` +
      "afterwards; without it the one\nof the tests, which may be a stand-in: the report names it."
    );
  })
  .action(async (name: string, options: Omit<BenchOptions, "note"> & { json?: boolean }, command: Command) => {
    const bench = BENCHES[name]!;
    if (options.store !== undefined && !bench.hasStores) command.error(`error: ${name} uses no store`);
    const note = (line: string) => console.error(line);
    const report: Report = { name, machine: machine(), ...(await bench.run({ ...options, note })) };
    console.log(options.json ? JSON.stringify(report) : `\n${table(report)}`);
  })
  .parseAsync();
