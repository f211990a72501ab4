import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { recompute } from "@proof-of-compute/proto/kinds";
import {
  type CheckedLink,
  linksOf,
  readReceipt,
  type Sources,
  verdictOf,
  verifyReceipt,
} from "@proof-of-compute/proto/verify";
import { BATCH_LINKS, verifyBatch } from "@proof-of-compute/proto/verify-batch";
import { expect, test } from "vitest";
import { RECEIPTS, readFacts } from "./fixtures.ts";

const names = (await readdir(RECEIPTS)).filter((name) => name.endsWith(".json"));
const chainLinks = ["root on chain", "transaction"];

async function check(text: string, sources: Sources): Promise<CheckedLink[]> {
  return Array.fromAsync(verifyReceipt(text, sources));
}

test.each(names)("a receipt of the version before holds in every link but the chain's: %s", async (name) => {
  const text = await readFile(join(RECEIPTS, name), "utf8");
  const bytes = await readFile(join(RECEIPTS, name.replace(".json", ".bin")));
  const kept = await check(text, { result: () => bytes });
  expect(kept.map(({ name }) => name)).toEqual(linksOf(text).map(({ name }) => name));
  for (const { name, status, detail } of kept) {
    expect({ name, status, detail }).toMatchObject({ status: chainLinks.includes(name) ? "unchecked" : "ok" });
  }
  expect(verdictOf(kept)).toBe("unproven");
  // The work itself gives the same bytes today.
  const again = await check(text, { result: (_, work, kind) => recompute(kind, work) });
  expect(again.map(({ status }) => status)).toEqual(kept.map(({ status }) => status));
  const changed = Uint8Array.from(bytes, (byte, index) => (index === 7 ? byte ^ 1 : byte));
  expect(verdictOf(await check(text, { result: () => changed }))).toBe("broken");
});

test("the list of a batch of the version before holds, with the root that its receipts name", async () => {
  const lines = (await readFile(join(RECEIPTS, "batch-1.jsonl"), "utf8")).trimEnd().split("\n");
  const facts = await readFacts("sqlite");
  const files = await Promise.all(names.map(async (name) => readReceipt(await readFile(join(RECEIPTS, name), "utf8"))));
  const units = files.reduce((sum, { receipt }) => sum + BigInt(receipt.units), 0n);
  const links = await Array.fromAsync(
    verifyBatch(
      lines,
      { id: 1, chain: { chainId: facts.chainId, contract: facts.contract } },
      {
        root: async () => ({ root: files[0]!.batch!.root, block: 2 }),
        credits: async () => [{ provider: facts.wallets.daemon, units }],
      },
    ),
  );
  expect(links.map(({ name, status }) => [name, status])).toEqual(BATCH_LINKS.map((name) => [name, "ok"]));
});
