import { readFileSync } from "node:fs";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import type { Server } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";

/**
 * Serves the descriptors that `npm run proto` builds, so that grpcurl needs no files. They come from buf, because those that
 * proto-loader makes at run time are refused for messages with a map, and the health service has one.
 */
export function addReflection(server: Server, services: string[]): void {
  const file = readFileSync(new URL("../../../../proto/gen/descriptors.binpb", import.meta.url));
  const fileDescriptorProtos = readDescriptorSet(file);
  // The only field of a proto-loader definition that the service reads.
  const definition = { all: { format: "", type: {}, fileDescriptorProtos } };
  new ReflectionService(definition as unknown as ConstructorParameters<typeof ReflectionService>[0], {
    services,
  }).addToServer(server);
}

/** Splits a FileDescriptorSet (`repeated FileDescriptorProto file = 1`) into its serialized files. */
function readDescriptorSet(bytes: Uint8Array): Buffer[] {
  const reader = new BinaryReader(bytes);
  const files: Buffer[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) files.push(Buffer.from(reader.bytes()));
    else reader.skip(wireType);
  }
  return files;
}
