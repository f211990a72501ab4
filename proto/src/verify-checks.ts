import { sha256 } from "#crypto";
import { addressBytes, addressFromBytes } from "./address.ts";
import { equal, fromHex, toHex } from "./bytes.ts";
import { verifySignature } from "./ed25519.ts";
import { matmulUnits } from "./kinds/matmul/matmul.ts";
import { rootFromPath } from "./merkle.ts";
import { reasonOf } from "./reason.ts";
import type { MatmulTaskSpec } from "./spec.ts";
import { resultMessage, resultsMessage } from "./transcript.ts";
import type { ReceiptFile } from "./verify-format.ts";

// What the verification of one receipt and of a whole batch share.

type Fields = ReceiptFile["receipt"];

/** A link that does not hold; the message says why. */
export class Broken extends Error {}

/** A link of which nobody can say here whether it holds; the message says why. */
export class Open extends Error {}

/** What an error that a link threw says of it. */
export function outcomeOf(error: unknown): { status: "failed" | "unchecked"; detail: string } {
  return {
    status: error instanceof Open ? "unchecked" : "failed",
    detail: reasonOf(error),
  };
}

/** Awaits a fact; that it could not be had breaks nothing. */
export async function asked<T>(fact: () => T | Promise<T>): Promise<T> {
  try {
    return await fact();
  } catch (cause) {
    throw new Open(reasonOf(cause), { cause });
  }
}

/** The spec's bytes are those that the receipt names. */
export function checkSpecDigest({ specDigest }: Fields, spec: ReceiptFile["spec"]): void {
  const digest = toHex(sha256(fromHex(spec)));
  if (digest !== specDigest) throw new Broken(`the spec's SHA-256 is ${digest}`);
}

/** What the spec says is what the receipt says, and what `chain` it is recorded on. */
export function checkSpecFields(receipt: Fields, spec: MatmulTaskSpec, chain: ReceiptFile["chain"]): void {
  const units = matmulUnits(spec.n, spec.k);
  if (receipt.kind !== "matmul") throw new Broken(`the spec is of kind matmul, the receipt says ${receipt.kind}`);
  if (receipt.assurance !== "proven") throw new Broken(`matmul is proven, the receipt says ${receipt.assurance}`);
  if (receipt.units !== String(units)) throw new Broken(`the spec is worth ${units} units, not ${receipt.units}`);
  const requester = addressFromBytes(spec.requester);
  if (requester !== receipt.requester) throw new Broken(`the spec was asked for by ${requester}`);
  if (spec.chainId === 0n && spec.contract.length === 0) {
    if (chain) throw new Open("the task was asked for before a chain was known: nothing binds it to this one");
  } else {
    if (!chain) throw new Broken(`the spec is for chain ${spec.chainId}, the receipt names none`);
    if (spec.chainId !== BigInt(chain.chainId)) throw new Broken(`the spec is for chain ${spec.chainId}`);
    if (!equal(spec.contract, addressBytes(chain.contract))) throw new Broken("the spec is for another contract");
  }
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
