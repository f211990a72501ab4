export { keystream, sha256 } from "#crypto";
export * from "./address.ts";
export * from "./authorization.ts";
export * from "./bytes.ts";
export * from "./matmul.ts";
export * from "./merkle.ts";
export * from "./networks.ts";
export * from "./receipt.ts";
export * from "./transcript.ts";
