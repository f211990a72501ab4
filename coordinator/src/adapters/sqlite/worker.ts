/** The store's thread, so that the event loop never waits for the disk. */
import { parentPort, workerData } from "node:worker_threads";
import { openDatabase } from "./database.ts";
import { GroupCommit, type Operation } from "./group-commit.ts";
import { type Answer, type Call, type CrossingError, crossing, type Request } from "./messages.ts";
import { operationsOn } from "./operations.ts";

/** The most calls in one transaction, so that one answer does not block the main thread for long. */
const MAX_CALLS = 1_024;

const port = parentPort!;
const answer = (message: Answer) => port.postMessage(message);

function serve(path: string): void {
  const database = openDatabase(path);
  const { writes, reads } = operationsOn(database);
  const operations = { ...writes, ...reads } as Record<string, (...args: readonly unknown[]) => unknown>;
  let failure: { error: unknown; operations: number } | undefined;
  const commits = new GroupCommit(database, (error, count) => {
    failure = { error, operations: count };
  });
  const waiting: Call[] = [];

  const operation = ([name, args]: Call): Operation => ({
    writes: name in writes,
    run: () => operations[name]!(...args),
  });
  const commit = () => {
    failure = undefined;
    const values: unknown[] = [];
    const errors = new Map<number, CrossingError>();
    for (const outcome of commits.run(waiting.splice(0, MAX_CALLS).map(operation))) {
      if ("error" in outcome) errors.set(values.length, crossing(outcome.error));
      values.push("value" in outcome ? outcome.value : undefined);
    }
    answer({ values, errors, failure });
  };
  // Calls that arrive during a commit make the next group.
  const turn = () => {
    commit();
    if (waiting.length > 0) setImmediate(turn);
  };
  port.on("message", (request: Request) => {
    if (request === "close") {
      while (waiting.length > 0) commit();
      database.close();
      port.close();
      return;
    }
    if (waiting.length === 0) setImmediate(turn);
    waiting.push(...request);
  });
  answer("open");
}

try {
  serve(workerData as string);
} catch (error) {
  answer({ refused: crossing(error) });
}
