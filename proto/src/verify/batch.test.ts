import { readFileSync } from "node:fs";
import { echo } from "@proof-of-compute/tests/support/echo/protocol";
import { BATCH, CHAIN, makeBatch, makeNewerSpec, makeSpec, PROVIDER } from "@proof-of-compute/tests/support/receipts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KINDS, type Kind, type KindRegistry } from "../kinds/index.ts";
import { BATCH_LINKS, type BatchLink, type BatchSources, verifyBatch } from "./batch.ts";

const made = makeBatch(7);
const honest: BatchSources = {
  root: async () => ({ root: made.root, block: 1300 }),
  credits: async () => made.credits,
};

function* breakingOff(lines: readonly string[]): Generator<string> {
  yield* lines;
  throw new Error("it broke off");
}

function check(lines: Iterable<string>, sources: BatchSources = honest, id = BATCH, seen?: Set<`0x${string}`>) {
  return Array.fromAsync(verifyBatch(lines, { id, chain: CHAIN }, sources, seen));
}

const found = (links: readonly BatchLink[], status: BatchLink["status"]) =>
  links.filter((link) => link.status === status).map(({ name }) => name);

describe("a batch", () => {
  it("credits what its receipts are worth", async () => {
    const links = await check(made.lines);
    expect(links.map(({ name }) => name)).toEqual(BATCH_LINKS);
    expect(found(links, "ok")).toEqual(BATCH_LINKS);
  });

  it("of the version that introduced the form is verified, byte for byte", async () => {
    const frozen = readFileSync(new URL("../../../tests/vectors/batch-v1.jsonl", import.meta.url), "utf8");
    const { lines, root, credits } = makeBatch(3);
    expect(`${lines.join("\n")}\n`).toBe(frozen);
    const links = await check(frozen.trimEnd().split("\n"), {
      root: async () => ({ root, block: 1300 }),
      credits: async () => credits,
    });
    expect(found(links, "ok")).toEqual(BATCH_LINKS);
  });

  it("may list its receipts in any order", async () => {
    expect(found(await check(made.lines.toReversed()), "failed")).toEqual([]);
  });

  it("is unproven when it is not published or not recorded", async () => {
    const unpublished = await check([]);
    expect(found(unpublished, "unchecked")).toEqual(BATCH_LINKS);
    expect(unpublished[0]!.detail).toContain("unproven");
    const unrecorded = await check(made.lines, { ...honest, root: async () => ({ root: null, block: 1 }) });
    expect(found(unrecorded, "unchecked")).toEqual(["root on chain"]);
  });

  it("is unproven when facts are missing", async () => {
    expect(found(await check(made.lines, {}), "unchecked")).toEqual(["root on chain", "credits"]);
  });

  it("is unproven when its list breaks off, unless a received line is broken", async () => {
    const links = await check(breakingOff(made.lines.slice(0, 3)));
    expect(found(links, "unchecked")).toEqual(BATCH_LINKS);
    expect(links[0]!.detail).toBe("it broke off");
    expect(found(await check(breakingOff(["{}"])), "failed")).toEqual(["receipts"]);
  });

  it.each([
    ["a receipt left out", made.lines.slice(1), "root on chain"],
    ["a receipt twice", [...made.lines, made.lines[0]!], "duplicates"],
    ["a receipt of another batch", [...made.lines, ...makeBatch(1, 13).lines], "receipts"],
    [
      "a receipt of another batch under this one's number",
      [...made.lines, makeBatch(1, 13).lines[0]!.replace('"batchId":13', `"batchId":${BATCH}`)],
      "root on chain",
    ],
    [
      "more units than the spec is worth",
      made.lines.map((line) => line.replace('"units":"2"', '"units":"3"')),
      "receipts",
    ],
  ])("is broken by %s", async (_, lines, link) => {
    expect(found(await check(lines as string[]), "failed")).toEqual([link]);
  });

  it.each([
    ["another root on the chain", { root: async () => ({ root: makeBatch(6).root, block: 1 }) }, "root on chain"],
    [
      "a credit without receipts",
      { credits: async () => [...made.credits, { provider: CHAIN.contract, units: 1n }] },
      "credits",
    ],
    [
      "a credit above the receipts",
      { credits: async () => [...made.credits, { provider: PROVIDER, units: 1n }] },
      "credits",
    ],
    ["a wallet that was not credited", { credits: async () => made.credits.slice(1) }, "credits"],
  ])("is broken by %s", async (_, change, link) => {
    expect(found(await check(made.lines, { ...honest, ...(change as BatchSources) }), "failed")).toEqual([link]);
  });

  it("is broken by a receipt of an earlier batch", async () => {
    const seen = new Set<`0x${string}`>();
    await check(made.lines, honest, BATCH, seen);
    expect(found(await check(made.lines, honest, BATCH, seen), "failed")).toEqual(["duplicates"]);
  });

  describe("with other kinds", () => {
    const echoes = makeSpec({ kind: { $case: "echo", value: { input: Uint8Array.of(1, 2, 3) } } });
    const checkKind = (spec: Uint8Array, kinds: KindRegistry<Kind>) => {
      const { lines, root, credits } = makeBatch(3, BATCH, spec);
      const sources = { root: async () => ({ root, block: 1300 }), credits: async () => credits };
      return Array.fromAsync(verifyBatch(lines, { id: BATCH, chain: CHAIN }, sources, new Set(), kinds));
    };
    const inexact = { ...echo, bounds: () => ({ maxOutputBytes: 9, maxUnits: 9n, unitsAreExact: false }) };

    it("is verified with a registry that has the kind", async () => {
      expect(found(await checkKind(echoes, KINDS.with(echo)), "ok")).toEqual(BATCH_LINKS);
    });

    it.each([
      ["of an unknown kind", echoes, KINDS, ["receipts"], "3 receipts: this version does not know tasks of kind echo"],
      [
        "of a kind without a number",
        makeNewerSpec(),
        KINDS,
        ["receipts", "root on chain"],
        "3 receipts: this version does not",
      ],
      ["of units that depend on the output", echoes, KINDS.with(inexact), ["receipts"], "3 receipts: only the result"],
    ])("%s is unproven, and not broken", async (_, spec, kinds, open, says) => {
      const links = await checkKind(spec, kinds);
      expect(found(links, "failed")).toEqual([]);
      expect(found(links, "unchecked")).toEqual(open);
      expect(links[0]!.detail).toContain(says);
    });

    it("is broken by more units than the spec allows", async () => {
      const bounds = () => ({ maxOutputBytes: 9, maxUnits: 2n, unitsAreExact: false });
      expect(found(await checkKind(echoes, KINDS.with({ ...echo, bounds })), "failed")).toEqual(["receipts"]);
    });
  });

  it("is broken by any changed byte", async () => {
    const text = made.lines.join("\n");
    await fc.assert(
      fc.asyncProperty(fc.nat(text.length - 1), fc.integer({ min: 32, max: 126 }), async (at, code) => {
        const changed = text.slice(0, at) + String.fromCharCode(code) + text.slice(at + 1);
        fc.pre(changed !== text);
        const links = await check(changed.split("\n"));
        // Frame sizes that give an audit path the same sides are equivalent.
        const same = (line: string) => line.replace(/"size":\d+/, "");
        if (found(links, "failed").length === 0) expect(same(changed)).toBe(same(text));
      }),
      { numRuns: 300 },
    );
  });
});
