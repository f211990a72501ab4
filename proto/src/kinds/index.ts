import type { Kind } from "./kind.ts";
import { matmul } from "./matmul/kind.ts";
import { KindRegistry } from "./registry.ts";

export * from "./evidence.ts";
export type * from "./kind.ts";
export { KindRegistry } from "./registry.ts";
export * from "./task-spec.ts";

/** Every kind of this version: one line each. */
export const KINDS: KindRegistry<Kind> = new KindRegistry<Kind>([matmul]);
