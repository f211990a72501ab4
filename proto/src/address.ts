import type { Hex } from "./bytes.ts";

/** An EVM address: `0x` with EIP-55 casing. */
export type Address = Hex;
