/** `npm run verify-receipt -- receipt.json --rpc URL`: checks receipts and trusts only the chain. */
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { parseAddress } from "@proof-of-compute/proto";
import { recompute as computeAgain } from "@proof-of-compute/proto/kinds";
import { type CheckedLink, type Sources, verdictOf, verifyReceipt } from "@proof-of-compute/proto/verify";
import { readChainFacts } from "@proof-of-compute/proto/verify-chain";
import { Command } from "commander";
import { connect, downloadResult, EXIT, get, isWeb, linesOf, printLink, runVerifier, worse } from "./lib/verify-cli.ts";

interface Options {
  readonly rpc?: string;
  readonly contract?: string;
  readonly result?: string;
  readonly fetch?: true;
  readonly recompute?: true;
}

const program = new Command("verify-receipt")
  .description("Checks every link of a receipt, from its bytes to the chain and the work itself.")
  .argument("<receipt>", "a file with one receipt, or many as JSON Lines; or the web address of a receipt")
  .option("--rpc <url>", "JSON-RPC of the chain, to read the contract at a final block")
  .option("--contract <address>", "the contract whose units count; default: the one in the receipt")
  .option("--result <file>", "the result's bytes")
  .option("--fetch", "download the result from the address in the receipt")
  .option("--recompute", "recompute the result")
  .addHelpText(
    "after",
    "\nExit codes: 0 every link holds, 1 a link is broken, 2 no link is broken, but some could not be checked.",
  );

function sourcesOf(options: Options, rpc: ReturnType<typeof connect> | undefined): Sources {
  const { result: path, fetch, recompute, contract } = options;
  let result: Sources["result"];
  if (path !== undefined) result = () => readFile(path);
  else if (recompute) result = (_, work, kind) => computeAgain(kind, work);
  else if (fetch) {
    result = (file, work, kind) => {
      if (!file.result.available) throw new Error("the coordinator no longer keeps the result: use --recompute");
      return downloadResult(file.result.url, kind, work.spec);
    };
  }
  return {
    ...(contract !== undefined && { contract: parseAddress(contract) }),
    ...(rpc && { chain: (where, batch) => readChainFacts(rpc, where, batch) }),
    ...(result && { result }),
  };
}

/** The receipts to check: the lines of a file, or the answer of a web address. */
async function* receiptsOf(source: string): AsyncGenerator<string> {
  if (isWeb(source)) yield text(await get(source));
  else yield* linesOf(source);
}

await runVerifier(async () => {
  program.exitOverride().parse();
  const [source] = program.args as [string];
  const options = program.opts<Options>();
  const rpc = options.rpc === undefined ? undefined : connect(options.rpc);
  const sources = sourcesOf(options, rpc);
  let exitCode: number = EXIT.verified;
  const counts = { verified: 0, broken: 0, unproven: 0 };
  try {
    for await (const receipt of receiptsOf(source)) {
      const links: CheckedLink[] = [];
      if (counts.verified + counts.broken + counts.unproven > 0) console.log("");
      for await (const link of verifyReceipt(receipt, sources)) {
        links.push(link);
        printLink(link);
      }
      const verdict = verdictOf(links);
      counts[verdict]++;
      exitCode = worse(exitCode, EXIT[verdict]);
      const first = links.find(({ status }) => status === "failed");
      console.log(first ? `broken: ${first.name}` : verdict);
    }
  } finally {
    rpc?.destroy();
  }
  const total = counts.verified + counts.broken + counts.unproven;
  if (total === 0) throw new Error(`${source} contains no receipt`);
  if (total > 1) {
    console.log(
      `\n${total} receipts: ${counts.verified} verified, ${counts.broken} broken, ${counts.unproven} unproven`,
    );
  }
  return exitCode;
});
