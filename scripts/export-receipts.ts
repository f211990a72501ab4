/** `npm run export-receipts -- --wallet 0x… --coordinator URL`: every receipt of a wallet, for keeping and for checking. */
import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { parseAddress } from "@proof-of-compute/proto";
import { Command } from "commander";
import { get, runVerifier } from "./lib/verify-cli.ts";

const program = new Command("export-receipts")
  .description("Writes every receipt that credits a wallet as JSON Lines, which verify-receipt checks.")
  .requiredOption("--wallet <address>", "the credited wallet, 0x… or xdc…")
  .requiredOption("--coordinator <url>", "the coordinator's address")
  .option("--output <file>", "where to write; default: standard output");

await runVerifier(async () => {
  program.exitOverride().parse();
  const { wallet, coordinator, output } = program.opts<{ wallet: string; coordinator: string; output?: string }>();
  const url = new URL(`/api/receipts/export?provider=${parseAddress(wallet)}`, coordinator);
  const body = (await get(url.href)).body!;
  await pipeline(body, output === undefined ? process.stdout : createWriteStream(output));
  return 0;
});
