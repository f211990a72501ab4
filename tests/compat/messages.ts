import { loadSync, type MessageTypeDefinition, type PackageDefinition } from "@grpc/proto-loader";
import { PROTO } from "./fixtures.ts";

const definitions: PackageDefinition = loadSync("proofofcompute/node/v1/node.proto", {
  includeDirs: [PROTO],
  keepCase: true,
  longs: String,
  enums: String,
  bytes: Buffer,
  defaults: true,
  oneofs: true,
});

/** A message as the version before reads it; `message` of a frame names the member that is set, absent when it knows none. */
// biome-ignore lint/suspicious/noExplicitAny: its types are those of another version, and the test states what it expects.
export type OldMessage = any;

/** Reads and writes the messages of the version before, by its own proto files and another implementation of protobuf. */
function messageOf(name: string) {
  const { serialize, deserialize } = definitions[`proofofcompute.node.v1.${name}`] as MessageTypeDefinition<
    object,
    object
  >;
  return {
    read: (bytes: Uint8Array): OldMessage => deserialize(Buffer.from(bytes)),
    write: (message: object): Buffer => serialize(message),
  };
}

export const oldNodeFrame = messageOf("NodeFrame");
export const oldCoordinatorFrame = messageOf("CoordinatorFrame");
export const oldHelloTerms = messageOf("HelloTerms");
export const oldTaskSpec = messageOf("TaskSpec");
