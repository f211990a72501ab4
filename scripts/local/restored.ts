import type { Clock } from "@proof-of-compute/coordinator/clock";
import { LocalError, type Say } from "./terminal.ts";
import { START_MS } from "./until.ts";

const POLL_MS = 100;
/** Time between two lines of progress, in milliseconds. */
const TELL_MS = 10_000;

const number = new Intl.NumberFormat("en");

/** Progress of the restoration: the store sets each batch back, then sends it again. */
export interface Restoring {
  /** Batches on the new chain. */
  readonly back: number;
  /** The sum of recorded units in the store. */
  readonly recordedUnits: string;
}

/** Waits until the new chain holds `total` batches. Rejects after {@link START_MS} without progress. */
export async function untilRestored(
  { look, clock, say }: { look: () => Promise<Restoring>; clock: Clock; say: Say },
  total: number,
  signal: AbortSignal,
): Promise<void> {
  let seen: Restoring = { back: 0, recordedUnits: "" };
  let failure: unknown;
  let movedAt = clock.monotonic();
  let toldAt = movedAt;
  for (;;) {
    const now = await look().catch((error: unknown) => {
      failure = error;
      return seen;
    });
    if (now.back >= total) return;
    signal.throwIfAborted();
    const time = clock.monotonic();
    if (now.back !== seen.back || now.recordedUnits !== seen.recordedUnits) movedAt = time;
    seen = now;
    if (time - movedAt >= START_MS) {
      const problem = `batch ${seen.back + 1} of ${total} of earlier runs did not come back on the chain`;
      throw new LocalError(`${problem} within ${START_MS / 1000} s`, { cause: failure });
    }
    if (time - toldAt >= TELL_MS) {
      toldAt = time;
      say(
        "restoring",
        `${number.format(seen.back)} of ${number.format(total)} batches of earlier runs are on the chain`,
      );
    }
    await new Promise<void>((resolve) => clock.after(POLL_MS, resolve));
  }
}
