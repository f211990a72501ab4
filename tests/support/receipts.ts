import { createPrivateKey, createPublicKey, type KeyObject, sign } from "node:crypto";
import {
  type Address,
  addressBytes,
  auditPaths,
  concat,
  fromHex,
  type Hex,
  merkleRoot,
  parseAddress,
  type ReceiptLeaf,
  receiptLeaf,
  receiptTree,
  resultMessage,
  resultsMessage,
  sha256,
  toHex,
} from "@proof-of-compute/proto";
import { KINDS, type ReadTaskSpec, readTaskSpec, recompute } from "@proof-of-compute/proto/kinds";
import { TaskSpec } from "@proof-of-compute/proto/task";
import {
  type BatchLine,
  type ChainFacts,
  leafFields,
  type ReceiptFile,
  type Sources,
  writeReceipt,
} from "@proof-of-compute/proto/verify";
import { echo } from "./echo/protocol.ts";
import { bytes } from "./vectors.ts";

export const CHAIN = { chainId: 51, contract: parseAddress("0x71C7656EC7ab88b098defB751B7401B5f6d8976F") };
export const REQUESTER = parseAddress("0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A");
export const PROVIDER = parseAddress("0xf8b060d02cfdb26594280f2dc5df7f07d7184e3d");
export const BATCH = 12;
const RECORDED = { transaction: `0x${"cd".repeat(32)}` as Hex, block: 1203 };

/** An ed25519 key pair of a private key whose bytes are all the same. */
export function keyPair(byte: number): { privateKey: KeyObject; nodeId: Hex } {
  const pkcs8 = concat(bytes("302e020100300506032b657004220420"), new Uint8Array(32).fill(byte));
  const privateKey = createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" });
  const { x } = createPublicKey(privateKey).export({ format: "jwk" });
  return { privateKey, nodeId: toHex(Buffer.from(x!, "base64url")) };
}

/** What may be otherwise in a spec of the fixture. */
export interface SpecChange {
  readonly chainId?: bigint;
  readonly contract?: Address;
  readonly kind?: NonNullable<TaskSpec["kind"]>;
}

/** A serialized TaskSpec; right for the fixture unless `change` says otherwise. */
export function makeSpec(change: SpecChange = {}): Uint8Array {
  const { chainId = BigInt(CHAIN.chainId), contract = CHAIN.contract, kind = product(64, 3) } = change;
  return TaskSpec.encode({
    chainId,
    contract: chainId === 0n ? new Uint8Array() : addressBytes(contract),
    requester: addressBytes(REQUESTER),
    deadlineUnixMs: 1795305600000n,
    kind,
  }).finish();
}

/** The member of a matmul TaskSpec. */
export function product(n: number, k: number): NonNullable<TaskSpec["kind"]> {
  return { $case: "matmul", value: { n, k } };
}

/** What the fields of a receipt say of a spec's kind and of the most that it is worth. */
function kindFields(read: ReadTaskSpec) {
  if (!read.kind) return { kind: NEWER.kind, assurance: NEWER.assurance, units: "7" };
  const { name, assurance, bounds } = read.kind;
  return { kind: name, assurance, units: String(bounds(read.spec).maxUnits) };
}

/** The lines of a batch of signed receipts, and what the chain says of it. */
export function makeBatch(count: number, id = BATCH, spec: Uint8Array = makeSpec()) {
  const ofKind = kindFields(readTaskSpec(spec, KINDS.with(echo)));
  const { privateKey, nodeId } = keyPair(7);
  const receipts = Array.from({ length: count }, (_, i): ReceiptFile["receipt"] => ({
    receiptId: toHex(sha256(Uint8Array.of(id, i)).subarray(0, 16)),
    taskId: toHex(sha256(Uint8Array.of(id, i, 1)).subarray(0, 16)),
    nodeId,
    provider: i % 3 === 0 ? REQUESTER : PROVIDER,
    requester: REQUESTER,
    kind: ofKind.kind,
    assurance: ofKind.assurance,
    specDigest: toHex(sha256(spec)),
    resultDigest: toHex(sha256(Uint8Array.of(i))),
    units: ofKind.units,
    acceptedAt: 1795305500000 + i,
  }));
  const messages = receipts.map((receipt) =>
    resultMessage({
      assignmentId: fromHex(receipt.receiptId),
      taskId: fromHex(receipt.taskId),
      specDigest: sha256(spec),
      outputDigest: fromHex(receipt.resultDigest),
      wallet: addressBytes(receipt.provider),
    }),
  );
  const paths = auditPaths(messages);
  const signature = toHex(sign(null, resultsMessage(merkleRoot(messages)), privateKey));
  const lines = receipts.map((receipt, index): BatchLine => {
    const path = paths[index]!.map(toHex);
    return { ...receipt, batchId: id, signature: { signature, index, size: count, path }, spec: toHex(spec) };
  });
  const earned = (wallet: Address) =>
    BigInt(receipts.filter(({ provider }) => provider === wallet).length) * BigInt(ofKind.units);
  return {
    lines: lines.map((line) => JSON.stringify(line)),
    root: receiptTree(receipts.map(leafOf)).root,
    credits: [PROVIDER, REQUESTER].map((provider) => ({ provider, units: earned(provider) })),
  };
}

/** A receipt of real work, with everything around it that can vouch for it. */
export interface MadeReceipt {
  readonly text: string;
  readonly content: Omit<ReceiptFile, "format" | "checksum">;
  readonly output: Uint8Array;
  /** The tree that carries it. */
  readonly tree: { readonly root: Hex; proof(index: number): Hex[] };
  readonly neighbours: readonly ReceiptLeaf[];
  readonly facts: ChainFacts;
  /** Sources that give every fact as it is. */
  readonly sources: Sources;
}

/** What may be otherwise than an honest coordinator and an honest node make it. */
export interface Change {
  readonly spec?: Uint8Array;
  readonly output?: (right: Uint8Array) => Uint8Array;
  readonly fields?: Partial<ReceiptFile["receipt"]>;
  /** Private key that signs, as in {@link keyPair}; the node's own is 7. */
  readonly signer?: number;
  /** Wallet that the node signs for. */
  readonly signedFor?: Address;
}

/** A kind and an assurance that this version does not know. */
const NEWER = { kind: "render", assurance: "witnessed", number: 200 } as const;

/** A serialized TaskSpec of a kind that this version does not know: its member has the number 10. */
export function makeNewerSpec(): Uint8Array {
  const common = makeSpec({ kind: { $case: "echo", value: { input: new Uint8Array() } } }).slice(0, -2);
  return concat(common, bytes("52020801"));
}

/** The leaf's fields, for names that this version does not know as well. */
function leafOf(receipt: ReceiptFile["receipt"]): ReceiptLeaf {
  const { kind, assurance } = receipt;
  if (kind !== NEWER.kind || assurance !== NEWER.assurance) return leafFields(receipt);
  return { ...receipt, kind: NEWER.number, assurance: NEWER.number, units: BigInt(receipt.units) };
}

/** Computes, signs, batches and records one receipt: the third of five results in its frame, one of seven in its batch. */
export function makeReceipt(change: Change = {}): MadeReceipt {
  const { nodeId } = keyPair(7);
  const spec = change.spec ?? makeSpec();
  const [receiptId, taskId] = [`0x${"1d".repeat(16)}`, `0x${"7a".repeat(16)}`] as [Hex, Hex];
  const ids = { assignmentId: fromHex(receiptId), taskId: fromHex(taskId), nodeId: fromHex(nodeId) };
  const read = readTaskSpec(spec, KINDS.with(echo));
  const ofKind = kindFields(read);
  const right = read.kind
    ? recompute(read.kind, { ...ids, specDigest: sha256(spec), spec: read.spec })
    : new TextEncoder().encode("what only a newer version can make");
  const output = change.output?.(right) ?? right;
  const receipt: ReceiptFile["receipt"] = {
    receiptId,
    taskId,
    nodeId,
    provider: PROVIDER,
    requester: REQUESTER,
    kind: ofKind.kind,
    assurance: ofKind.assurance,
    specDigest: toHex(sha256(spec)),
    resultDigest: toHex(sha256(output)),
    units: ofKind.units,
    acceptedAt: 1795305500000,
    ...change.fields,
  };
  const message = resultMessage({
    ...ids,
    specDigest: sha256(spec),
    outputDigest: sha256(output),
    wallet: addressBytes(change.signedFor ?? PROVIDER),
  });
  const frame = [1, 2, message, 3, 4].map((part) => (typeof part === "number" ? Uint8Array.of(part) : part));
  const { privateKey } = keyPair(change.signer ?? 7);
  const neighbours = Array.from({ length: 6 }, (_, i) => ({
    ...leafOf(receipt),
    receiptId: `0x${`${i}0`.repeat(16)}` as Hex,
  }));
  const tree = receiptTree([leafOf(receipt), ...neighbours]);
  const content: MadeReceipt["content"] = {
    receipt,
    spec: toHex(spec),
    signature: {
      signature: toHex(sign(null, resultsMessage(merkleRoot(frame)), privateKey)),
      index: 2,
      size: 5,
      path: auditPaths(frame)[2]!.map(toHex),
    },
    result: { available: true, url: "https://hub.example/api/receipts/1/result" },
    leaf: receiptLeaf(leafOf(receipt)),
    chain: CHAIN,
    batch: { id: BATCH, root: tree.root, proof: tree.proof(0), recorded: RECORDED },
  };
  const facts: ChainFacts = {
    chainId: CHAIN.chainId,
    block: 1300,
    root: tree.root,
    transaction: { block: RECORDED.block, recorded: [{ batchId: BATCH, root: tree.root }] },
  };
  const sources: Sources = {
    chain: (_, { id, transaction }) => ({
      ...facts,
      root: id === BATCH ? facts.root : null,
      transaction: transaction === RECORDED.transaction ? facts.transaction! : null,
    }),
    result: () => output,
  };
  return { text: writeReceipt(content), content, output, tree, neighbours, facts, sources };
}
