import { duplexPair } from "node:stream";
import type { ServiceError } from "@grpc/grpc-js";
import type { Call } from "@proof-of-compute/coordinator/edges/grpc/node-stream";
import type { NodeCall } from "./scripted-node.ts";

/** Both ends of a node's stream, without sockets between them. They behave as those of gRPC do. */
export function aCall(): { readonly coordinator: Call; readonly node: NodeCall } {
  const [near, far] = duplexPair({ objectMode: true });
  // What the coordinator emits as an error is the status that the node gets.
  near.on("error", ({ details, code, metadata }: ServiceError) =>
    far.destroy(Object.assign(new Error(details), { details, code, metadata })),
  );
  far.on("close", () => near.emit("cancelled"));
  const node = Object.assign(far, { cancel: () => void far.destroy() });
  return { coordinator: near as unknown as Call, node };
}
