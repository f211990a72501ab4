import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TaskSpec } from "../gen/proofofcompute/node/v1/task.ts";
import { fromHex, type Hex, toHex } from "./bytes.ts";
import { readTaskSpec } from "./spec.ts";
import { CHAIN, makeReceipt, makeSpec } from "./testing-receipts.ts";
import {
  type CheckedLink,
  LINKS,
  type LinkName,
  readReceipt,
  type Sources,
  verdictOf,
  verifyReceipt,
} from "./verify.ts";
import { BATCH_LINKS } from "./verify-batch.ts";
import { writeReceipt } from "./verify-format.ts";

const made = makeReceipt();

async function check(text: string, sources: Sources = made.sources): Promise<CheckedLink[]> {
  const links: CheckedLink[] = [];
  for await (const link of verifyReceipt(text, sources)) links.push(link);
  return links;
}

/** The one broken link. */
async function brokenLink(text: string, sources: Sources = made.sources): Promise<LinkName | undefined> {
  const failed = (await check(text, sources)).filter(({ status }) => status === "failed");
  expect(failed.length).toBeLessThanOrEqual(1);
  return failed[0]?.name;
}

const status = (links: readonly CheckedLink[], name: LinkName) => links.find((link) => link.name === name)!.status;

describe("a receipt", () => {
  it("holds link by link, in order", async () => {
    const links = await check(made.text);
    expect(links.map(({ name }) => name)).toEqual(LINKS);
    expect(links.filter(({ status }) => status !== "ok")).toEqual([]);
    expect(verdictOf(links)).toBe("verified");
    expect(verdictOf(await check(`${made.text}\n`))).toBe("verified");
  });

  it("is read as it was written", () => {
    const { checksum: _, format: __, ...content } = readReceipt(made.text);
    expect(content).toEqual(made.content);
    expect(writeReceipt(content)).toBe(made.text);
  });

  it("is unproven, not broken, where facts are missing", async () => {
    const links = await check(made.text, {});
    expect(verdictOf(links)).toBe("unproven");
    const unchecked = links.filter(({ status }) => status === "unchecked").map(({ name }) => name);
    expect(unchecked).toEqual(["root on chain", "transaction", "result digest", "product"]);
  });

  it("is unproven while no batch or no final block carries it", async () => {
    const { batch, ...unbatched } = made.content;
    const early = await check(writeReceipt(unbatched));
    expect([status(early, "merkle proof"), verdictOf(early)]).toEqual(["unchecked", "unproven"]);
    const { recorded: _, ...open } = batch!;
    const facts = { ...made.facts, root: null };
    const waiting = await check(writeReceipt({ ...unbatched, batch: open }), { ...made.sources, chain: () => facts });
    expect([status(waiting, "root on chain"), verdictOf(waiting)]).toEqual(["unchecked", "unproven"]);
    // Recorded, only where is not known: that is no doubt about whether.
    expect(verdictOf(await check(writeReceipt({ ...unbatched, batch: open })))).toBe("verified");
  });

  it("is unproven when sources fail, or are of another chain", async () => {
    const away = () => {
      throw new Error("away");
    };
    const links = await check(made.text, { chain: away, result: away });
    expect(links.filter(({ detail }) => detail === "away").map(({ name }) => name)).toEqual([
      "root on chain",
      "result digest",
    ]);
    const elsewhere = await check(made.text, { ...made.sources, chain: () => ({ ...made.facts, chainId: 50 }) });
    expect([status(elsewhere, "root on chain"), verdictOf(elsewhere)]).toEqual(["unchecked", "unproven"]);
    const stuck = await check(made.text, { ...made.sources, product: away });
    expect([status(stuck, "product"), verdictOf(stuck)]).toEqual(["unchecked", "unproven"]);
  });

  it("of a task that knew no chain is bound to none", async () => {
    const unbound = makeReceipt({ spec: makeSpec({ chainId: 0n }) });
    const links = await check(unbound.text, unbound.sources);
    expect([status(links, "spec fields"), verdictOf(links)]).toEqual(["unchecked", "unproven"]);
  });

  it("says that its result is kept no longer, and holds again once it is computed", async () => {
    const text = writeReceipt({ ...made.content, result: { available: false } });
    const { result: _, ...sources } = made.sources;
    const links = await check(text, sources);
    expect(links.find(({ name }) => name === "result digest")).toMatchObject({
      status: "unchecked",
      detail: expect.stringContaining("compute it again"),
    });
    expect(verdictOf(await check(text))).toBe("verified");
  });
});

/** Every byte of the text in turn, with every bit of it flipped in turn. */
function* bitFlips(text: string): Generator<{ at: number; flipped: string }> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const changed = bytes.slice();
      changed[at]! ^= 1 << bit;
      yield { at, flipped: new TextDecoder().decode(changed) };
    }
  }
}

/** The file with the checksum that fits its content, as whoever tampers with purpose would leave it. */
function resealed(text: string): string {
  try {
    const { checksum: _, format: __, ...content } = readReceipt(text);
    return writeReceipt(content);
  } catch {
    return text;
  }
}

it("has every link explained in docs/reference/verification.md", () => {
  const page = readFileSync(new URL("../../docs/reference/verification.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name);
  expect(rows).toEqual([...LINKS, ...BATCH_LINKS]);
});

describe("a tampered receipt", () => {
  it("names a broken link for every bit of every byte", async () => {
    const named = new Set<LinkName>();
    for (const { at, flipped } of bitFlips(`${made.text}\n`)) {
      const link = await brokenLink(flipped);
      expect(link, `byte ${at}: ${flipped.slice(at - 20, at + 20)}`).toBeDefined();
      named.add(link!);
    }
    expect([...named].sort()).toEqual(LINKS.filter((name) => name !== "result digest" && name !== "product").sort());
  });

  it("names a broken link for every byte replaced by any other, without any source", async () => {
    const bytes = new TextEncoder().encode(made.text);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const changed = bytes.map((byte, i) => (i === at ? byte ^ change : byte));
        expect(await brokenLink(new TextDecoder().decode(changed), {})).toBeDefined();
      }),
      { numRuns: 500 },
    );
  });

  it("is refused with a fitting checksum too, but for the two things that nothing depends on", async () => {
    const free = new Set<string>();
    for (const { flipped } of bitFlips(made.text)) {
      const text = resealed(flipped);
      if (text === made.text || (await brokenLink(text)) !== undefined) continue;
      const changed = readReceipt(text);
      const differs = Object.keys(changed).filter(
        (key) =>
          JSON.stringify(changed[key as keyof typeof changed]) !==
          JSON.stringify(readReceipt(made.text)[key as keyof typeof changed]),
      );
      for (const key of differs) free.add(key);
      expect(changed.signature.path).toEqual(made.content.signature.path);
    }
    // Where the result may be had, and sizes of a frame that give the audit path the same sides.
    expect([...free].sort()).toEqual(["checksum", "result", "signature"]);
    // Every bit of the file, on a machine that may be busy.
  }, 120_000);

  const { text } = made;
  it.each([
    ["white space", text.replace(",", ", ")],
    ["two line feeds", `${text}\n\n`],
    ["a byte order mark", `\ufeff${text}`],
    ["another order", JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(text)).reverse()))],
    ["a doubled member", text.replace('"spec":', '"leaf":"0x00","spec":')],
    ["an unknown member", text.replace('{"format"', '{"x":1,"format"')],
    ["an escape", text.replace("proof-of", "\\u0070roof-of")],
    ["units with a leading zero", text.replace('"units":"', '"units":"0')],
    ["a time as a float", text.replace(/"acceptedAt":(\d+)/, '"acceptedAt":$1.0')],
    ["an exponent", text.replace('"size":5', '"size":5e0')],
    ["upper-case hex", text.replace(/"leaf":"0x[^"]+/, (leaf) => leaf.slice(0, 10) + leaf.slice(10).toUpperCase())],
    [
      "an address without checksum",
      text.replace(made.content.receipt.provider, made.content.receipt.provider.toLowerCase()),
    ],
    ["another version", text.replace("receipt/v1", "receipt/v2")],
    ["a missing member", text.replace(/"leaf":"[^"]+",/, "")],
    ["nothing", ""],
    ["an array", `[${text}]`],
    ["a URL that is no web address", text.replace("https://hub", "file:///hub")],
  ])("is refused as no receipt: %s", async (_, changed) => {
    expect(changed).not.toBe(text);
    expect(await brokenLink(changed)).toBe("format");
  });
});

describe("a spec", () => {
  it("is read as it was encoded", () => {
    const decoded = TaskSpec.decode(makeSpec({ n: 4096, k: 64 }));
    expect(readTaskSpec(makeSpec({ n: 4096, k: 64 }))).toMatchObject({
      chainId: decoded.chainId,
      contract: new Uint8Array(decoded.contract),
      requester: new Uint8Array(decoded.requester),
      deadline: decoded.deadlineUnixMs,
      n: 4096,
      k: 64,
    });
  });

  const spec = toHex(makeSpec());
  it.each([
    ["a longer varint", spec.replace("0x0833", "0x08b300")],
    ["a field twice", `${spec}0833`],
    ["an unknown field", `${spec}3801`],
    ["a default written out", spec.replace("0x0833", "0x0800")],
    ["an unknown field within matmul", spec.replace("2a0408401003", "2a06084010031801")],
    ["another order", `0x${spec.slice(6)}0833`],
    ["no kind", spec.replace("2a0408401003", "")],
    ["a cut", spec.slice(0, -2)],
  ])("has one encoding: not %s", (_, other) => {
    expect(other).not.toBe(spec);
    expect(() => readTaskSpec(fromHex(other as Hex))).toThrow();
  });

  it("names its chain", () => {
    expect(readTaskSpec(fromHex(spec)).chainId).toBe(BigInt(CHAIN.chainId));
  });
});
