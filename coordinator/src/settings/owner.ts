import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { toHex } from "@proof-of-compute/proto";
import type { Owner } from "../domain/owner.ts";
import type { Settings } from "./table.ts";

/** This run of this coordinator. A SQLite store has one coordinator; on MongoDB, host and port make the name unique. */
export function ownerOf({
  COORDINATOR_ID,
  MONGODB_URI,
  HTTP_ADDRESS,
}: Pick<Settings, "COORDINATOR_ID" | "MONGODB_URI" | "HTTP_ADDRESS">): Owner {
  const unique = `${hostname()}-${HTTP_ADDRESS.port}`.replaceAll(/[^\w.-]/g, "-").slice(-64);
  const coordinatorId = COORDINATOR_ID ?? (MONGODB_URI === undefined ? "coordinator-1" : unique);
  return { coordinatorId, incarnation: toHex(randomBytes(16)) };
}
