import { sha256 } from "#crypto";
import { concat } from "./bytes.ts";

const ascii = (text: string) => new TextEncoder().encode(text);

const HELLO = ascii("proof-of-compute/hello/v1");
const RESULT = ascii("proof-of-compute/result/v1");
const RESULTS = ascii("proof-of-compute/results/v1");

/** The message that Hello's signature covers. `audience` is the host:port as dialled, `terms` the serialized HelloTerms. */
export function helloMessage(hello: {
  readonly nonce: Uint8Array;
  readonly audience: string;
  readonly nodeId: Uint8Array;
  readonly terms: Uint8Array;
}): Uint8Array {
  const audience = new TextEncoder().encode(hello.audience);
  if (audience.length > 0xffff) throw new RangeError("an audience has at most 65,535 bytes");
  const length = Uint8Array.of(audience.length >> 8, audience.length & 0xff);
  return concat(HELLO, hello.nonce, length, audience, hello.nodeId, sha256(hello.terms));
}

/** The message of one result, a leaf of its frame's Merkle tree. Ids are 16 bytes, digests 32, the wallet 20. */
export function resultMessage(result: {
  readonly assignmentId: Uint8Array;
  readonly taskId: Uint8Array;
  readonly specDigest: Uint8Array;
  readonly outputDigest: Uint8Array;
  readonly wallet: Uint8Array;
}): Uint8Array {
  return concat(RESULT, result.assignmentId, result.taskId, result.specDigest, result.outputDigest, result.wallet);
}

/** The message that a Results frame's signature covers: the Merkle root of its results' messages. */
export function resultsMessage(root: Uint8Array): Uint8Array {
  return concat(RESULTS, root);
}
