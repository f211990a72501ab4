import { sha256 } from "#crypto";
import { addressBytes, addressFromBytes } from "../address.ts";
import { equal, fromHex, toHex } from "../bytes.ts";
import { verifySignature } from "../ed25519.ts";
import type { Kind } from "../kinds/kind.ts";
import type { KindRegistry } from "../kinds/registry.ts";
import type { ReadTaskSpec } from "../kinds/task-spec.ts";
import { rootFromPath } from "../merkle.ts";
import { resultMessage, resultsMessage } from "../transcript.ts";
import type { ReceiptFile } from "./format.ts";
import { Broken, Unchecked } from "./outcome.ts";

// The checks that one receipt and a whole batch share.

type Fields = ReceiptFile["receipt"];

/** The spec's bytes are those that the receipt names. */
export function checkSpecDigest({ specDigest }: Fields, spec: ReceiptFile["spec"]): void {
  const digest = toHex(sha256(fromHex(spec)));
  if (digest !== specDigest) throw new Broken(`the spec's SHA-256 is ${digest}`);
}

/** The spec and the receipt agree, and the spec names the `chain` that the receipt is recorded on. */
export function checkSpecFields(
  receipt: Fields,
  read: ReadTaskSpec,
  chain: ReceiptFile["chain"],
  kinds: KindRegistry<Kind>,
): void {
  const { kind } = read;
  if (kind) checkKindFields(receipt, kind, read.spec);
  else if (kinds.get(receipt.kind)) throw new Broken(`the receipt says ${receipt.kind}, the spec is of another kind`);
  const requester = addressFromBytes(read.requester);
  if (requester !== receipt.requester) throw new Broken(`the spec names the requester ${requester}`);
  const unbound = read.chainId === 0n && read.contract.length === 0;
  if (!unbound) {
    if (!chain) throw new Broken(`the spec is for chain ${read.chainId}, the receipt names none`);
    if (read.chainId !== BigInt(chain.chainId)) throw new Broken(`the spec is for chain ${read.chainId}`);
    if (!equal(read.contract, addressBytes(chain.contract))) throw new Broken("the spec is for another contract");
  }
  if (!kind) throw new Unchecked(unknownKind(receipt.kind));
  if (unbound && chain) {
    throw new Unchecked("the task was submitted before a chain was known, so nothing binds it to this chain");
  }
}

function checkKindFields(receipt: Fields, kind: Kind, spec: unknown): void {
  if (receipt.kind !== kind.name)
    throw new Broken(`the spec is of kind ${kind.name}, the receipt says ${receipt.kind}`);
  if (receipt.assurance !== kind.assurance) {
    throw new Broken(`${kind.name} is ${kind.assurance}, the receipt says ${receipt.assurance}`);
  }
  const { maxUnits, unitsAreExact } = kind.bounds(spec);
  if (unitsAreExact && BigInt(receipt.units) !== maxUnits) {
    throw new Broken(`the spec is worth ${maxUnits} units, not ${receipt.units}`);
  }
  if (BigInt(receipt.units) > maxUnits) {
    throw new Broken(`the spec is worth at most ${maxUnits} units, not ${receipt.units}`);
  }
}

/** Why a link stays unchecked when the registry lacks the kind. */
export function unknownKind(name: string): string {
  return `this version does not know tasks of kind ${name}`;
}

/** The node signed this result of this spec, for this wallet. */
export function checkNodeSignature(receipt: Fields, { signature, index, size, path }: ReceiptFile["signature"]): void {
  const message = resultMessage({
    assignmentId: fromHex(receipt.receiptId),
    taskId: fromHex(receipt.taskId),
    specDigest: fromHex(receipt.specDigest),
    outputDigest: fromHex(receipt.resultDigest),
    wallet: addressBytes(receipt.provider),
  });
  const root = rootFromPath(message, index, size, path.map(fromHex));
  if (!verifySignature(fromHex(receipt.nodeId), resultsMessage(root), fromHex(signature))) {
    throw new Broken("it is not the node's signature of this result");
  }
}
