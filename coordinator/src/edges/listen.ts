import { ComputeError } from "../domain/errors.ts";

/** What to say when a server could not take the address that `setting` gives it. */
export function cannotListen(setting: string, address: string, cause: unknown): ComputeError {
  const reason = /EADDRINUSE/.test(String(cause))
    ? "another program listens there"
    : (cause as Error).message.replace(/^listen /, "");
  return new ComputeError("UNAVAILABLE", `cannot listen at ${address} (${setting}): ${reason}`, { cause });
}
