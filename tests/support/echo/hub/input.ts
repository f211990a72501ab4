import { fromHex, type Hex, toHex } from "@proof-of-compute/proto";
import type { Task } from "#lib/api/client.ts";

/** The parameter of the kind, as the coordinator shows it. */
export interface EchoParameters {
  /** The bytes to send back. */
  readonly input: Hex;
}

/** The bytes of a text, as the API writes them. */
export function hexOf(text: string): Hex {
  return toHex(new TextEncoder().encode(text));
}

/** The text that a task sends. */
export function inputOf(task: Task): string {
  const { input } = (task as unknown as { readonly echo: EchoParameters }).echo;
  return new TextDecoder().decode(fromHex(input));
}
