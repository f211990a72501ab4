/** `npm run verify-batch -- http://coordinator --batch 7 --rpc URL`: checks everything that a batch credited. */
import { json } from "node:stream/consumers";
import { type Address, type Hex, parseAddress, reasonOf } from "@proof-of-compute/proto";
import { verifyBatch } from "@proof-of-compute/proto/verify-batch";
import { findRecording, readChainFacts, readCredits } from "@proof-of-compute/proto/verify-chain";
import { Command } from "commander";
import { connect, EXIT, get, isWeb, linesOf, printLink, runVerifier, worse } from "./lib/verify-cli.ts";

interface Options {
  readonly batch: string;
  readonly rpc: string;
  readonly contract?: string;
  readonly transaction?: string;
  readonly blocks: string;
}

const program = new Command("verify-batch")
  .description("Checks whole batches: every receipt, duplicates, the root on the chain, and the sums of the credits.")
  .argument("<source>", "a coordinator's address, or a file with a batch's receipts as JSON Lines")
  .requiredOption("--batch <ids>", "a batch id, or the first and the last one: 1-20")
  .requiredOption("--rpc <url>", "JSON-RPC of the chain")
  .option("--contract <address>", "the contract; required with a file, default: the contract of the coordinator")
  .option("--transaction <hash>", "the transaction that recorded the batch; default: found in the contract's events")
  .option("--blocks <count>", "how far back to search for the transaction", "200000")
  .addHelpText(
    "after",
    "\nExit codes: 0 every link holds, 1 a link is broken, 2 no link is broken, but some could not be checked.",
  );

function rangeOf(text: string): number[] {
  const match = /^([1-9]\d*)(?:-([1-9]\d*))?$/.exec(text);
  const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
  if (!match || last < first) throw new Error(`--batch is an id or a range such as 1-20, not ${text}`);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

async function contractOf(source: string, given: string | undefined): Promise<Address> {
  if (given !== undefined) return parseAddress(given);
  if (!isWeb(source)) throw new Error("--contract is required to check a file");
  const config = (await json(await get(new URL("/api/config", source).href))) as { contractAddress?: string };
  if (!config.contractAddress) throw new Error("the coordinator has no chain");
  return parseAddress(config.contractAddress);
}

/**
 * The receipts that a coordinator publishes of a batch: none if it does not know the batch or does not answer. Throws when fewer
 * arrive than it announces, because a proxy may end a broken answer as if it were complete.
 */
async function* publishedLines(source: string, id: number): AsyncGenerator<string> {
  if (!isWeb(source)) return yield* linesOf(source);
  const url = new URL(`/api/batches/${id}`, source).href;
  let receipts = 0;
  try {
    ({ receipts = 0 } = (await json(await get(url))) as { receipts?: number });
  } catch (error) {
    return console.log(`  ${reasonOf(error)}`);
  }
  let count = 0;
  for await (const line of linesOf(`${url}/receipts`)) {
    count++;
    yield line;
  }
  if (count < receipts) throw new Error(`only ${count} of ${receipts} receipts arrived from ${url}/receipts`);
}

await runVerifier(async () => {
  program.exitOverride().parse();
  const [source] = program.args as [string];
  const options = program.opts<Options>();
  const ids = rangeOf(options.batch);
  const rpc = connect(options.rpc);
  const seen = new Set<Hex>();
  let exitCode: number = EXIT.verified;
  try {
    const contract = await contractOf(source, options.contract);
    const chain = { chainId: Number(await rpc.send("eth_chainId", [])), contract };
    for (const id of ids) {
      console.log(`batch ${id}`);
      const sources = {
        root: () => readChainFacts(rpc, chain, { id, transaction: undefined }),
        credits: async () => {
          const transaction =
            (options.transaction as Hex | undefined) ??
            (await findRecording(rpc, contract, id, Number(options.blocks)));
          if (transaction === null)
            throw new Error("no event of this batch was found: give --transaction, or more --blocks");
          return readCredits(rpc, contract, id, transaction);
        },
      };
      for await (const link of verifyBatch(publishedLines(source, id), { id, chain }, sources, seen)) {
        printLink(link);
        const verdict = link.status === "ok" ? "verified" : link.status === "failed" ? "broken" : "unproven";
        exitCode = worse(exitCode, EXIT[verdict]);
      }
    }
  } finally {
    rpc.destroy();
  }
  console.log(exitCode === EXIT.verified ? "verified" : exitCode === EXIT.broken ? "broken" : "unproven");
  return exitCode;
});
