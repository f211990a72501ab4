import { type Address, addressBytes, type Hex, sha256, toHex } from "@proof-of-compute/proto";
import type { CoordinatorKind } from "../../../kinds/index.ts";
import type { DispatchRequest } from "./schemas.ts";

/**
 * What makes two requests the same: kind, parameters and deadline, whatever the order of their members. Coordinators of two
 * versions must agree on it, because the task that one of them stored answers the repeated request at the other.
 */
export function canonicalForm({ name, parameters }: CoordinatorKind, request: DispatchRequest): string {
  const given = request[name] as Readonly<Record<string, unknown>>;
  const values = Object.keys(parameters.shape).map((field) => given[field]);
  return JSON.stringify([name, ...values, request.deadlineSeconds]);
}

/** The task's id and the digest of its request, so that a repeated request finds the task that the first one made. */
export function idempotency(
  wallet: Address,
  key: string,
  kind: CoordinatorKind,
  request: DispatchRequest,
): { readonly id: Hex; readonly requestDigest: Hex } {
  return {
    id: toHex(sha256(addressBytes(wallet), Buffer.from(key)).subarray(0, 16)),
    requestDigest: toHex(sha256(Buffer.from(canonicalForm(kind, request)))),
  };
}
