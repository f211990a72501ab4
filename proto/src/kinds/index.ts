import type { Kind } from "./kind.ts";
import { matmul } from "./matmul/kind.ts";
import { KindRegistry } from "./registry.ts";

export type * from "./kind.ts";
export { KindRegistry } from "./registry.ts";

/** Every kind of this version: one line each. */
export const KINDS: KindRegistry<Kind> = new KindRegistry<Kind>([matmul]);
