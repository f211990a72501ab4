import { sign } from "node:crypto";
import {
  CHAIN,
  type Change,
  keyPair,
  type MadeReceipt,
  makeReceipt,
  makeSpec,
  product,
  REQUESTER,
} from "@proof-of-compute/tests/support/receipts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { keccak256, keystream, sha256 } from "#crypto";
import { parseAddress } from "../../address.ts";
import { concat, fromHex, type Hex, toHex } from "../../bytes.ts";
import { merkleRoot } from "../../merkle.ts";
import { receiptLeaf, receiptTree, verifyReceiptProof } from "../../receipt.ts";
import { resultMessage, resultsMessage } from "../../transcript.ts";
import { leafFields, type Sources, verdictOf, verifyReceipt, writeReceipt } from "../../verify/receipt.ts";
import { recompute } from "../index.ts";
import { computeProduct } from "./kernel.ts";
import { FIELD, matmulSeed, matrixKey } from "./matmul.ts";

// Everybody but the chain may lie here. Each attack is as consistent as its attacker can make it, and names the link that
// fails. When the coordinator attacks, the contract holds the root of its choice.

const N = 64;
const honest = makeReceipt();
const THIEF = parseAddress("0x70997970C51812dc3A010C7d01b50e0d17dc79C8");

async function broken(text: string, sources: Sources): Promise<string | undefined> {
  const links = await Array.fromAsync(verifyReceipt(text, sources));
  const verdict = verdictOf(links);
  const failed = links.find(({ status }) => status === "failed")?.name;
  expect(verdict === "broken").toBe(failed !== undefined);
  return failed;
}

/** The link that fails when node and coordinator collude: they sign, batch and record whatever they like. */
const collusion = (change: Change) => {
  const made = makeReceipt(change);
  return broken(made.text, made.sources);
};

/** The link that fails when a finished file is changed and the chain is honest. */
const forgery = (change: Partial<MadeReceipt["content"]>, sources = honest.sources) =>
  broken(writeReceipt({ ...honest.content, ...change }), sources);

const element = fc.nat(N * N - 1);

/** The matrices of the honest receipt's task. */
function matrices(made: MadeReceipt): Uint8Array[] {
  const { receiptId, taskId, nodeId, specDigest } = made.content.receipt;
  const [assignmentId, task, node, digest] = [receiptId, taskId, nodeId, specDigest].map(fromHex) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  const seed = matmulSeed({ assignmentId, taskId: task, nodeId: node, specDigest: digest });
  return [1, 2, 3].map((i) => keystream(matrixKey(seed, i), N * N).map((byte) => byte % FIELD));
}

function multiply(a: Uint8Array, b: Uint8Array): Uint8Array {
  return Uint8Array.from({ length: N * N }, (_, at) => {
    let sum = 0;
    for (let j = 0; j < N; j++) sum += a[N * Math.floor(at / N) + j]! * b[N * j + (at % N)]!;
    return sum % FIELD;
  });
}

describe("a wrong result, signed and recorded as if it were right", () => {
  it("with one wrong element", async () => {
    await fc.assert(
      fc.asyncProperty(element, fc.integer({ min: 1, max: FIELD - 1 }), async (at, by) => {
        const output = (right: Uint8Array) => right.map((value, i) => (i === at ? (value + by) % FIELD : value));
        expect(await collusion({ output })).toBe("product");
      }),
      { numRuns: 40 },
    );
  });

  it("with errors that cancel out within a row, a column, or the whole", async () => {
    await fc.assert(
      fc.asyncProperty(element, element, fc.integer({ min: 1, max: FIELD - 1 }), async (one, other, by) => {
        fc.pre(one !== other);
        const output = (right: Uint8Array) =>
          right.map((value, i) => (i === one ? value + by : i === other ? value + FIELD - by : value) % FIELD);
        expect(await collusion({ output })).toBe("product");
      }),
      { numRuns: 40 },
    );
  });

  it("with a wrong row, two rows swapped, or the transpose", async () => {
    const rows = (right: Uint8Array) => Array.from({ length: N }, (_, i) => right.subarray(N * i, N * (i + 1)));
    const attacks = [
      (right: Uint8Array) => concat(new Uint8Array(N), ...rows(right).slice(1)),
      (right: Uint8Array) => concat(...rows(right).toSpliced(0, 2, rows(right)[1]!, rows(right)[0]!)),
      (right: Uint8Array) => right.map((_, i) => right[N * (i % N) + Math.floor(i / N)]!),
    ];
    for (const output of attacks) expect(await collusion({ output })).toBe("product");
  });

  it("with matrices swapped, left out, or used twice", async () => {
    const [a, b, c] = matrices(honest) as [Uint8Array, Uint8Array, Uint8Array];
    expect(multiply(multiply(a, b), c)).toEqual(honest.output);
    for (const [x, y, z] of [
      [b, a, c],
      [a, c, b],
      [c, b, a],
      [a, a, c],
      [a, b, b],
    ] as const) {
      expect(await collusion({ output: () => multiply(multiply(x, y), z) })).toBe("product");
    }
    expect(await collusion({ output: () => multiply(a, b) })).toBe("product");
  });

  it("of another seed", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 32, maxLength: 32 }), async (seed) => {
        expect(await collusion({ output: () => computeProduct({ seed, n: N, k: 3 })! })).toBe("product");
      }),
      { numRuns: 20 },
    );
  });

  it("truncated, oversized, empty, or with equivalent elements outside the field", async () => {
    expect(await collusion({ output: (right) => right.subarray(1) })).toBe("product");
    expect(await collusion({ output: (right) => concat(right, Uint8Array.of(0)) })).toBe("product");
    expect(await collusion({ output: () => new Uint8Array() })).toBe("product");
    const beyond = (right: Uint8Array) => {
      const at = right.findIndex((value) => value < 256 - FIELD);
      expect(at).toBeGreaterThanOrEqual(0);
      return right.map((value, i) => (i === at ? value + FIELD : value));
    };
    expect(await collusion({ output: beyond })).toBe("product");
  });

  it("computed by another node, whose seed differs", async () => {
    const other = keyPair(9);
    expect(await collusion({ fields: { nodeId: other.nodeId }, signer: 9 })).toBe("product");
  });
});

describe("bytes presented as the result", () => {
  it("that differ from the signed bytes anywhere", async () => {
    await fc.assert(
      fc.asyncProperty(element, fc.integer({ min: 1, max: 255 }), async (at, by) => {
        const result = () => honest.output.map((value, i) => (i === at ? value ^ by : value));
        expect(await broken(honest.text, { ...honest.sources, result })).toBe("result digest");
      }),
      { numRuns: 40 },
    );
  });

  it("of another length", async () => {
    for (const output of [honest.output.subarray(1), concat(honest.output, Uint8Array.of(0))]) {
      expect(await broken(honest.text, { ...honest.sources, result: () => output })).toBe("result digest");
    }
  });
});

describe("a receipt for work that was not done", () => {
  it("with units, kind or assurance that contradict the spec", async () => {
    expect(await collusion({ fields: { units: "3" } })).toBe("spec fields");
    expect(await collusion({ fields: { kind: "inference" } })).toBe("spec fields");
    expect(await collusion({ fields: { kind: "wasm", assurance: "replicated" } })).toBe("spec fields");
    expect(await collusion({ fields: { assurance: "attested" } })).toBe("spec fields");
  });

  it("with a requester that contradicts the spec", async () => {
    expect(await collusion({ fields: { requester: THIEF } })).toBe("spec fields");
  });

  it("with another spec than the signed one", async () => {
    const larger = makeSpec({ kind: product(64, 64) });
    expect(await forgery({ spec: toHex(larger) })).toBe("spec digest");
    const fields = { ...honest.content.receipt, specDigest: toHex(sha256(larger)), units: "63" };
    const leaf = receiptLeaf(leafFields(fields));
    expect(await forgery({ spec: toHex(larger), receipt: fields, leaf })).toBe("node signature");
  });

  it("with a size outside the limits", async () => {
    const spec = fromHex(toHex(makeSpec()).replace("08401003", "08401001") as Hex);
    const receipt = { ...honest.content.receipt, specDigest: toHex(sha256(spec)) };
    expect(await forgery({ spec: toHex(spec), receipt })).toBe("spec fields");
  });
});

describe("a stolen receipt", () => {
  it("credited to another wallet than the node signed for", async () => {
    expect(await collusion({ fields: { provider: THIEF } })).toBe("node signature");
    expect(await collusion({ signedFor: THIEF })).toBe("node signature");
  });

  it("signed by another key", async () => {
    expect(await collusion({ signer: 8 })).toBe("node signature");
  });

  it("under an assignment or a task of its own", async () => {
    for (const id of ["receiptId", "taskId"] as const) {
      expect(await collusion({ fields: { [id]: `0x${"99".repeat(16)}` } })).toBe("node signature");
    }
  });

  it("replayed on another chain or contract", async () => {
    expect(await forgery({ chain: { ...CHAIN, chainId: 50 } })).toBe("spec fields");
    expect(await forgery({ chain: { ...CHAIN, contract: THIEF } })).toBe("spec fields");
    expect(await forgery({ chain: undefined })).toBe("spec fields");
    expect(await collusion({ spec: makeSpec({ chainId: 50n }) })).toBe("spec fields");
    expect(await collusion({ spec: makeSpec({ contract: THIEF }) })).toBe("spec fields");
  });

  it("signed under a key of small order, which anybody can forge", async () => {
    // The neutral element: with R = it and S = 0 the equation holds for every message.
    const nodeId: Hex = `0x01${"00".repeat(31)}`;
    const receipt = { ...honest.content.receipt, nodeId };
    const signature: Hex = `0x01${"00".repeat(63)}`;
    const content = { receipt, leaf: receiptLeaf(leafFields(receipt)) };
    expect(await forgery({ ...content, signature: { signature, index: 0, size: 1, path: [] } })).toBe("node signature");
  });

  it("with a signature of something else", async () => {
    const { receipt, signature } = honest.content;
    // The signature of a hello, of a bare result, and of the root without its prefix.
    const message = resultMessage({
      assignmentId: fromHex(receipt.receiptId),
      taskId: fromHex(receipt.taskId),
      specDigest: fromHex(receipt.specDigest),
      outputDigest: fromHex(receipt.resultDigest),
      wallet: fromHex(receipt.provider),
    });
    const { privateKey } = keyPair(7);
    for (const signed of [message, merkleRoot([message]), resultsMessage(message)]) {
      const made = { signature: toHex(sign(null, signed, privateKey)), index: 0, size: 1, path: [] };
      expect(await forgery({ signature: made })).toBe("node signature");
    }
    for (const change of [
      { index: 3 },
      { size: 2 },
      { path: signature.path.slice(1) },
      { path: signature.path.toReversed() },
    ]) {
      expect(await forgery({ signature: { ...signature, ...change } })).toBe("node signature");
    }
  });
});

describe("a receipt that is in no batch", () => {
  const { content, tree, neighbours } = honest;
  const batch = content.batch!;

  it("whose leaf is an inner node, or a second hash of the leaf", async () => {
    const [sibling, ...rest] = batch.proof as [Hex, ...Hex[]];
    const pair = [content.leaf, sibling].sort().map((hash) => fromHex(hash));
    const inner = toHex(keccak256(concat(...pair)));
    // The proof leads to the root, so the leaf must be refused.
    expect(verifyReceiptProof(batch.root, inner, rest)).toBe(true);
    expect(await forgery({ leaf: inner, batch: { ...batch, proof: rest } })).toBe("leaf");
    for (const leaf of [tree.root, toHex(sha256(fromHex(content.leaf)))]) {
      expect(await forgery({ leaf, batch: { ...batch, proof: [] } })).toBe("leaf");
    }
  });

  it("with a proof of another receipt or batch, or one that is too short or long", async () => {
    const other = receiptTree(neighbours);
    for (const proof of [tree.proof(1), other.proof(0), batch.proof.slice(1), [...batch.proof, batch.proof[0]!], []]) {
      expect(await forgery({ batch: { ...batch, proof } })).toBe("merkle proof");
    }
  });

  it("with a root that is not on the chain", async () => {
    const own = receiptTree([leafFields(content.receipt)]);
    expect(await forgery({ batch: { ...batch, root: own.root, proof: [] } })).toBe("root on chain");
    expect(await forgery({ batch: { ...batch, id: batch.id + 1 } })).toBe("root on chain");
  });

  it("recorded in a contract that the forger deployed", async () => {
    expect(await broken(honest.text, { ...honest.sources, contract: CHAIN.contract })).toBeUndefined();
    expect(await broken(honest.text, { ...honest.sources, contract: THIEF })).toBe("root on chain");
  });

  it("with a transaction that recorded another batch, in another block, or nothing", async () => {
    const recorded = batch.recorded!;
    expect(await forgery({ batch: { ...batch, recorded: { ...recorded, block: 1 } } })).toBe("transaction");
    const transaction: Hex = `0x${"ce".repeat(32)}`;
    expect(await forgery({ batch: { ...batch, recorded: { ...recorded, transaction } } })).toBe("transaction");
    const other = { block: recorded.block, recorded: [{ batchId: batch.id, root: receiptTree(neighbours).root }] };
    const chain = () => ({ ...honest.facts, transaction: other });
    expect(await broken(honest.text, { ...honest.sources, chain })).toBe("transaction");
  });
});

describe("a coordinator that invents a receipt", () => {
  it("still lacks the work, with its own node and a root on the chain", async () => {
    const invented = makeReceipt({ output: (right) => right.map(() => 0) });
    const { result: _, ...sources } = invented.sources;
    // It serves what it signed, serves nothing, or says that the result was deleted.
    expect(await broken(invented.text, invented.sources)).toBe("product");
    expect(verdictOf(await Array.fromAsync(verifyReceipt(invented.text, sources)))).toBe("unproven");
    const pruned = writeReceipt({ ...invented.content, result: { available: false } });
    expect(verdictOf(await Array.fromAsync(verifyReceipt(pruned, sources)))).toBe("unproven");
    // Recomputing the result shows it.
    const again: Sources = { ...sources, result: (_, work, kind) => recompute(kind, work) };
    expect(await broken(pruned, again)).toBe("result digest");
  });

  it("without any node's signature", async () => {
    const fields = { ...honest.content.receipt, receiptId: `0x${"55".repeat(16)}` as Hex, provider: REQUESTER };
    const tree = receiptTree([leafFields(fields)]);
    const batch = { ...honest.content.batch!, root: tree.root, proof: [] };
    const chain = () => ({ ...honest.facts, root: tree.root });
    const change = { receipt: fields, leaf: tree.root, batch };
    expect(await forgery(change, { ...honest.sources, chain })).toBe("node signature");
  });
});
