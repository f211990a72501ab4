import { randomBytes } from "node:crypto";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Hex } from "@proof-of-compute/proto";
import type { CoordinatorRecord, Owner } from "../../domain/owner.ts";
import { ownerKey } from "../owner-key.ts";
import { ownerFrom } from "./codec.ts";

interface Row {
  readonly _id: string;
  readonly incarnation: Hex;
  readonly beat: number;
  readonly address: string;
  readonly version: string;
  readonly started_at: number;
}

/** The coordinators' records. Only one coordinator has this file, so its peers are its own earlier runs. */
export class SqliteCluster {
  readonly #register: StatementSync;
  readonly #beat: StatementSync;
  readonly #deregister: StatementSync;
  readonly #coordinators: StatementSync;
  readonly #holder: StatementSync;
  readonly #takeFree: StatementSync;
  readonly #takeFrom: StatementSync;
  readonly #release: StatementSync;
  readonly #keepSecret: StatementSync;
  readonly #secret: StatementSync;

  constructor(database: DatabaseSync) {
    this.#register = database.prepare("INSERT OR REPLACE INTO coordinators VALUES (?, ?, ?, ?, ?, ?)");
    this.#beat = database.prepare("UPDATE coordinators SET beat = beat + 1 WHERE _id = ? AND incarnation = ?");
    this.#deregister = database.prepare("DELETE FROM coordinators WHERE _id = ? AND incarnation = ?");
    this.#coordinators = database.prepare("SELECT * FROM coordinators ORDER BY _id");
    this.#holder = database.prepare("SELECT owner FROM locks WHERE _id = ?");
    this.#takeFree = database.prepare("INSERT INTO locks VALUES (?, ?) ON CONFLICT (_id) DO NOTHING");
    this.#takeFrom = database.prepare("UPDATE locks SET owner = ? WHERE _id = ? AND owner = ?");
    this.#release = database.prepare("DELETE FROM locks WHERE _id = ? AND owner = ?");
    this.#keepSecret = database.prepare("INSERT INTO secrets VALUES (?, ?) ON CONFLICT (_id) DO NOTHING");
    this.#secret = database.prepare("SELECT secret FROM secrets WHERE _id = ?");
  }

  register({ coordinatorId, incarnation, beat, address, version, startedAt }: CoordinatorRecord): void {
    this.#register.run(coordinatorId, incarnation, beat, address, version, startedAt);
  }

  beat({ coordinatorId, incarnation }: Owner): boolean {
    return this.#beat.run(coordinatorId, incarnation).changes === 1;
  }

  deregister({ coordinatorId, incarnation }: Owner): void {
    this.#deregister.run(coordinatorId, incarnation);
  }

  coordinators(): CoordinatorRecord[] {
    const rows = this.#coordinators.all() as unknown as Row[];
    return rows.map(({ _id: coordinatorId, started_at: startedAt, ...rest }) => ({
      coordinatorId,
      startedAt,
      ...rest,
    }));
  }

  lockHolder(name: string): Owner | null {
    const row = this.#holder.get(name) as { owner: string } | undefined;
    return row ? ownerFrom(row.owner) : null;
  }

  takeLock(name: string, owner: Owner, from: Owner | null): boolean {
    const key = ownerKey(owner);
    const { changes } = from ? this.#takeFrom.run(key, name, ownerKey(from)) : this.#takeFree.run(name, key);
    return changes === 1;
  }

  releaseLock(name: string, owner: Owner): void {
    this.#release.run(name, ownerKey(owner));
  }

  secret(name: string): Uint8Array {
    this.#keepSecret.run(name, randomBytes(32));
    return (this.#secret.get(name) as { secret: Uint8Array }).secret;
  }
}
