export type { Address } from "./address.ts";
export * from "./bytes.ts";
