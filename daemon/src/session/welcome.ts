import type { Welcome } from "@proof-of-compute/proto/node";
import { printable } from "../printable.ts";

/** Within these bounds heartbeats do not flood a coordinator, and its silence is noticed. */
const HEARTBEAT_MS = { min: 100, max: 10 * 60_000 } as const;
/** Enough for a million nodes. */
const MAX_SPREAD_MS = 5 * 60_000;

/** A Welcome within what the daemon accepts. Throws a RangeError that names the value that is not. */
export function checkWelcome(welcome: Welcome): Welcome {
  const { heartbeatIntervalMs, chainId, contract } = welcome;
  if (heartbeatIntervalMs < HEARTBEAT_MS.min || heartbeatIntervalMs > HEARTBEAT_MS.max) {
    throw new RangeError(`a heartbeat every ${heartbeatIntervalMs} ms`);
  }
  if (chainId > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError(`chain ${chainId}`);
  if (chainId !== 0n && contract.length !== 20) throw new RangeError(`a contract of ${contract.length} bytes`);
  return {
    ...welcome,
    coordinatorId: printable(welcome.coordinatorId),
    reconnectSpreadMs: boundedSpread(welcome.reconnectSpreadMs),
  };
}

/** The spread that a coordinator asks for, up to what the daemon accepts; milliseconds. */
export function boundedSpread(spreadMs: number): number {
  return Math.min(spreadMs, MAX_SPREAD_MS);
}
