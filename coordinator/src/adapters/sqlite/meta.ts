import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Address } from "@proof-of-compute/proto";
import { ComputeError } from "../../domain/errors.ts";
import type { Unbatched } from "../../ports/receipts.ts";
import type { StoreTotals } from "../../ports/store.ts";

interface Contract {
  readonly chainId: number;
  readonly address: Address;
}

/** The contract that the store is bound to, and its sums. */
export class Meta {
  readonly #get: StatementSync;
  readonly #set: StatementSync;
  readonly #totals: StatementSync;
  readonly #oldestUnbatched: StatementSync;

  constructor(database: DatabaseSync) {
    this.#get = database.prepare("SELECT value FROM meta WHERE key = ?");
    this.#set = database.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)");
    this.#totals = database.prepare("SELECT name, CAST(value AS TEXT) AS value FROM totals");
    this.#oldestUnbatched = database.prepare(
      `SELECT accepted_at AS at FROM receipts WHERE batch_id IS NULL AND quarantined = 0
       ORDER BY accepted_at LIMIT 1`,
    );
  }

  boundTo(): Contract | null {
    const row = this.#get.get("contract") as { value: string } | undefined;
    return row ? (JSON.parse(row.value) as Contract) : null;
  }

  bind({ chainId, address }: Contract, rebind: boolean): void {
    const bound = this.boundTo();
    if (bound) {
      if (bound.chainId === chainId && bound.address === address) return;
      if (!rebind) {
        const message = `the store belongs to contract ${bound.address} on chain ${bound.chainId}, not to ${address} on chain ${chainId}; use another DATA_DIR (or --rebind, while it holds no task)`;
        throw new ComputeError("STORE_BOUND_ELSEWHERE", message);
      }
    }
    this.#set.run("contract", JSON.stringify({ chainId, address }));
  }

  /** Reads counters, whatever the number of receipts. */
  unbatched(): Unbatched {
    return this.#unbatchedOf(this.#sums());
  }

  totals(): StoreTotals {
    const sums = this.#sums();
    const sum = (name: string) => sums.get(name)!;
    const count = (name: string) => Number(sum(name));
    return {
      tasks: {
        queued: count("queued"),
        running: count("running"),
        cancelling: count("cancelling"),
        verified: count("verified"),
        failed: count("failed"),
        cancelled: count("cancelled"),
      },
      receipts: count("receipts"),
      unbatched: this.#unbatchedOf(sums),
      quarantined: { count: count("quarantined"), units: sum("units.quarantined") },
      units: { verified: sum("units.verified"), recorded: sum("units.recorded") },
    };
  }

  #sums(): ReadonlyMap<string, bigint> {
    const rows = this.#totals.all() as { name: string; value: string }[];
    return new Map(rows.map(({ name, value }) => [name, BigInt(value)]));
  }

  #unbatchedOf(sums: ReadonlyMap<string, bigint>): Unbatched {
    const count = Number(sums.get("receipts")! - sums.get("batched")! - sums.get("quarantined")!);
    const oldest = this.#oldestUnbatched.get() as { at: number } | undefined;
    return { count, ...(oldest && { oldestAcceptedAt: oldest.at }) };
  }
}
