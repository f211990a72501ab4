import { readFileSync } from "node:fs";
import { echo } from "@proof-of-compute/tests/support/echo/protocol";
import { type Change, makeNewerSpec, makeReceipt, makeSpec, PROVIDER } from "@proof-of-compute/tests/support/receipts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KINDS, type Kind, type KindRegistry, recompute } from "../kinds/index.ts";
import { BATCH_LINKS } from "./batch.ts";
import { writeReceipt } from "./format.ts";
import {
  type CheckedLink,
  LINKS,
  leafFields,
  linksOf,
  readReceipt,
  type Sources,
  verdictOf,
  verifyReceipt,
} from "./receipt.ts";

const made = makeReceipt();
const COMMON = LINKS.map(({ name }) => name);
/** The names of the links of a receipt whose kind has some of its own. */
const withLinks = (...names: string[]) => COMMON.toSpliced(-1, 0, ...names);

async function check(text: string, sources: Sources = made.sources): Promise<CheckedLink[]> {
  const links: CheckedLink[] = [];
  for await (const link of verifyReceipt(text, sources)) links.push(link);
  return links;
}

/** The one broken link. */
async function brokenLink(text: string, sources: Sources = made.sources): Promise<string | undefined> {
  const failed = (await check(text, sources)).filter(({ status }) => status === "failed");
  expect(failed.length).toBeLessThanOrEqual(1);
  return failed[0]?.name;
}

const status = (links: readonly CheckedLink[], name: string) => links.find((link) => link.name === name)!.status;

describe("a receipt", () => {
  it("holds link by link, in order", async () => {
    const links = await check(made.text);
    expect(links.map(({ name }) => name)).toEqual(withLinks("product"));
    expect(links.filter(({ status }) => status !== "ok")).toEqual([]);
    expect(verdictOf(links)).toBe("verified");
    expect(verdictOf(await check(`${made.text}\n`))).toBe("verified");
  });

  it("is read as it was written", () => {
    const { checksum: _, format: __, ...content } = readReceipt(made.text);
    expect(content).toEqual(made.content);
    expect(writeReceipt(content)).toBe(made.text);
  });

  it("is unproven, not broken, when facts are missing", async () => {
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
    // The root is on the chain, only the transaction is unknown.
    expect(verdictOf(await check(writeReceipt({ ...unbatched, batch: open })))).toBe("verified");
  });

  it("is unproven when sources fail or belong to another chain", async () => {
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
    const stuck = await check(made.text, { ...made.sources, link: away });
    expect([status(stuck, "product"), verdictOf(stuck)]).toEqual(["unchecked", "unproven"]);
  });

  it("of a task submitted without a chain is bound to none", async () => {
    const unbound = makeReceipt({ spec: makeSpec({ chainId: 0n }) });
    const links = await check(unbound.text, unbound.sources);
    expect([status(links, "spec fields"), verdictOf(links)]).toEqual(["unchecked", "unproven"]);
  });

  it("says that the result was deleted, and is verified once it is recomputed", async () => {
    const text = writeReceipt({ ...made.content, result: { available: false } });
    const { result: _, ...sources } = made.sources;
    const links = await check(text, sources);
    expect(links.find(({ name }) => name === "result digest")).toMatchObject({
      status: "unchecked",
      detail: expect.stringContaining("recompute it"),
    });
    expect(verdictOf(await check(text))).toBe("verified");
  });
});

describe("a receipt of another kind", () => {
  const kinds = KINDS.with(echo);
  const input = new TextEncoder().encode("hello");
  const member = { $case: "echo", value: { input } } as const;
  const spec = makeSpec({ kind: member });
  const checked = (change: Change = {}, known: KindRegistry<Kind> = kinds) => {
    const { text, sources } = makeReceipt({ spec, ...change });
    return Array.fromAsync(verifyReceipt(text, sources, known));
  };
  const brokenAt = async (change: Change, known?: KindRegistry<Kind>) =>
    (await checked(change, known)).find(({ status }) => status === "failed")?.name;

  it("has the links of its kind", async () => {
    const links = await checked();
    expect(links.map(({ name }) => name)).toEqual(withLinks("echo"));
    expect(linksOf(makeReceipt({ spec }).text, kinds).map(({ name }) => name)).toEqual(links.map(({ name }) => name));
    expect(links.filter(({ status }) => status !== "ok")).toEqual([]);
    expect(verdictOf(links)).toBe("verified");
  });

  it("is broken by a link of its kind, and by fields that its kind refuses", async () => {
    expect(await brokenAt({ output: () => Uint8Array.of(1) })).toBe("echo");
    expect(await brokenAt({ fields: { units: "6" } })).toBe("spec fields");
    expect(await brokenAt({ fields: { assurance: "attested" } })).toBe("spec fields");
    expect(await brokenAt({ fields: { kind: KINDS.names[0]! } })).toBe("spec fields");
  });

  it("can be recomputed if its kind can", async () => {
    const { text, sources } = makeReceipt({ spec });
    const again: Sources = { ...sources, result: (_, work, kind) => recompute(kind, work) };
    expect(verdictOf(await Array.fromAsync(verifyReceipt(text, again, kinds)))).toBe("verified");
    const { recompute: _, ...secret } = echo;
    const links = await Array.fromAsync(verifyReceipt(text, again, KINDS.with(secret)));
    expect([status(links, "result digest"), verdictOf(links)]).toEqual(["unchecked", "unproven"]);
  });

  it("checks units that depend on the output against the output", async () => {
    const bounds: typeof echo.bounds = () => ({ maxOutputBytes: 1024, maxUnits: 1024n, unitsAreExact: false });
    const known = KINDS.with({ ...echo, bounds });
    const links = await checked({}, known);
    expect(links.map(({ name }) => name)).toEqual(withLinks("units", "echo"));
    expect(verdictOf(links)).toBe("verified");
    expect(await brokenAt({ fields: { units: "6" } }, known)).toBe("units");
    expect(await brokenAt({ fields: { units: "1025" } }, known)).toBe("spec fields");
    const { text, sources } = makeReceipt({ spec });
    const { result: _, ...without } = sources;
    expect(status(await Array.fromAsync(verifyReceipt(text, without, known)), "units")).toBe("unchecked");
  });

  it("is unproven when a link of its kind cannot be checked", async () => {
    const check = () => {
      throw new Error("no memory");
    };
    const links = await checked({}, KINDS.with({ ...echo, links: [{ ...echo.links[0]!, check }] }));
    expect(links.find(({ name }) => name === "echo")).toMatchObject({ status: "unchecked", detail: "no memory" });
    expect(verdictOf(links)).toBe("unproven");
  });

  describe("that this version does not know", () => {
    it.each([
      ["but whose number it knows", { spec }, KINDS, ["spec fields", "result digest"]],
      [
        "and whose number it does not know",
        { spec: makeNewerSpec() },
        kinds,
        ["spec fields", "leaf", "merkle proof", "result digest"],
      ],
    ] as const)("%s is unproven, and never broken", async (_, change, known, open) => {
      const links = await checked(change, known);
      expect(links.map(({ name }) => name)).toEqual(COMMON);
      const unchecked = links.filter(({ status }) => status === "unchecked");
      expect(unchecked.map(({ name }) => name)).toEqual(open);
      expect(unchecked[0]!.detail).toMatch(/this version does not know tasks of kind (echo|render)/);
      expect(verdictOf(links)).toBe("unproven");
    });

    it("is still broken by the fields that every kind has", async () => {
      expect(await brokenAt({ fields: { requester: PROVIDER } }, KINDS)).toBe("spec fields");
      expect(await brokenAt({ spec: makeSpec({ chainId: 50n, kind: member }) }, KINDS)).toBe("spec fields");
      expect(await brokenAt({ signer: 8 }, KINDS)).toBe("node signature");
      expect(await brokenAt({ fields: { kind: KINDS.names[0]! } }, KINDS)).toBe("spec fields");
    });
  });

  it("does not know a kind named like a member of every object", async () => {
    const kind = "constructor";
    const text = writeReceipt({ ...made.content, receipt: { ...made.content.receipt, kind } });
    expect(await brokenLink(text)).toBe("spec fields");
    expect(() => leafFields({ ...made.content.receipt, kind })).toThrow("no number");
  });
});

it("verifies a file of the version that introduced the form, byte for byte", async () => {
  const frozen = readFileSync(new URL("../../../tests/vectors/receipt-v1.json", import.meta.url), "utf8");
  expect(`${made.text}\n`).toBe(frozen);
  expect(verdictOf(await check(frozen))).toBe("verified");
});

/** The text with every single bit flipped in turn. */
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

/** The file with a checksum that fits its content, as a deliberate forger would leave it. */
function resealed(text: string): string {
  try {
    const { checksum: _, format: __, ...content } = readReceipt(text);
    return writeReceipt(content);
  } catch {
    return text;
  }
}

it("has every link explained in docs/reference/verification.md", () => {
  const page = readFileSync(new URL("../../../docs/reference/verification.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name);
  const rowsOfKinds = [...page.matchAll(/^\| [a-z ]+ \| `([^`]+)` \|/gm)].map(([, name]) => name);
  const ofKinds = [...KINDS].flatMap(({ links }) => links.map(({ name }) => name));
  expect(rows).toEqual([...COMMON, ...BATCH_LINKS]);
  expect(rowsOfKinds).toEqual(["units", ...ofKinds]);
});

describe("a tampered receipt", () => {
  it("names a broken link for every bit of every byte", async () => {
    const named = new Set<string>();
    for (const { at, flipped } of bitFlips(`${made.text}\n`)) {
      const link = await brokenLink(flipped);
      expect(link, `byte ${at}: ${flipped.slice(at - 20, at + 20)}`).toBeDefined();
      named.add(link!);
    }
    expect([...named].sort()).toEqual(COMMON.filter((name) => name !== "result digest").sort());
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

  it("is refused despite a fitting checksum, except for the two values that nothing depends on", async () => {
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
    // The result's address, and frame sizes that give the audit path the same sides.
    expect([...free].sort()).toEqual(["checksum", "result", "signature"]);
    // All bits of the file, on a busy machine.
  }, 120_000);

  const { text } = made;
  it.each([
    ["white space", text.replace(",", ", ")],
    ["two line feeds", `${text}\n\n`],
    ["a byte order mark", `\ufeff${text}`],
    ["another order", JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(text)).reverse()))],
    ["a duplicate member", text.replace('"spec":', '"leaf":"0x00","spec":')],
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
    ["a URL that is not a web address", text.replace("https://hub", "file:///hub")],
  ])("is not a receipt: %s", async (_, changed) => {
    expect(changed).not.toBe(text);
    expect(await brokenLink(changed)).toBe("format");
  });
});
