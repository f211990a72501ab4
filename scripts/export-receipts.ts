/** `npm run export-receipts -- --wallet 0x… --coordinator URL`: every receipt of a wallet, to keep and to check. */
import { createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { parseAddress } from "@proof-of-compute/proto";
import { Command } from "commander";
import { getLines, runVerifier } from "./lib/verify-cli.ts";

const program = new Command("export-receipts")
  .description("Writes every receipt that credits a wallet as JSON Lines, which verify-receipt checks.")
  .requiredOption("--wallet <address>", "the credited wallet, 0x… or xdc…")
  .requiredOption("--coordinator <url>", "the coordinator's address")
  .option("--output <file>", "where to write; default: standard output");

/** Writes a file that appears only once it is complete. A pipe or a device is written directly. */
async function writeWhole(file: string, parts: AsyncIterable<Uint8Array>): Promise<void> {
  const known = await stat(file).catch(() => undefined);
  if (known && !known.isFile()) return pipeline(parts, createWriteStream(file));
  const draft = `${file}.${process.pid}.new`;
  try {
    await pipeline(parts, createWriteStream(draft));
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

await runVerifier(async () => {
  program.exitOverride().parse();
  const { wallet, coordinator, output } = program.opts<{ wallet: string; coordinator: string; output?: string }>();
  const url = new URL(`/api/receipts/export?provider=${parseAddress(wallet)}`, coordinator);
  if (output === undefined) await pipeline(getLines(url.href), process.stdout);
  else await writeWhole(output, getLines(url.href));
  return 0;
});
