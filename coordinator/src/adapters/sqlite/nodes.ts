import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Address, Hex } from "@proof-of-compute/proto";
import type { Node, NodeStatus, Standing } from "../../domain/node.ts";
import type { Page, PageQuery } from "../../ports/store.ts";
import { fromBlob, isId, readCursor, toBlob, toPage } from "./codec.ts";
import { type Condition, ListQuery } from "./statements.ts";

interface Row {
  readonly _id: Uint8Array;
  readonly wallet_address: Address;
  readonly status: NodeStatus;
  readonly last_seen: number;
  readonly coordinator_id: string;
  readonly hardware: string;
  readonly kinds: string;
  readonly slots: number;
  readonly version: string;
  readonly confirmed: number;
  readonly units_per_second: number | null;
}

/** The nodes as last known, and what each pair of node and wallet has earned. */
export class Nodes {
  readonly #save: StatementSync;
  readonly #saveLastSeen: StatementSync;
  readonly #byId: StatementSync;
  readonly #standing: StatementSync;
  readonly #saveStanding: StatementSync;
  readonly #list: ListQuery<Row>;

  constructor(database: DatabaseSync) {
    this.#save = database.prepare("INSERT OR REPLACE INTO exo_nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    this.#saveLastSeen = database.prepare("UPDATE exo_nodes SET last_seen = ? WHERE _id = ?");
    this.#byId = database.prepare("SELECT * FROM exo_nodes WHERE _id = ?");
    this.#standing = database.prepare(
      "SELECT cap, valid, faults FROM standings WHERE node_id = ? AND wallet_address = ?",
    );
    this.#saveStanding = database.prepare("INSERT OR REPLACE INTO standings VALUES (?, ?, ?, ?, ?)");
    this.#list = new ListQuery(database, "SELECT * FROM exo_nodes", "_id");
  }

  save(node: Node): void {
    this.#save.run(
      toBlob(node.id),
      node.wallet,
      node.status,
      node.lastSeen,
      node.coordinatorId,
      JSON.stringify(node.hardware),
      JSON.stringify(node.kinds),
      node.slots,
      node.version,
      Number(node.confirmed),
      node.unitsPerSecond ?? null,
    );
  }

  saveLastSeen(seen: readonly { readonly id: Hex; readonly lastSeen: number }[]): void {
    for (const { id, lastSeen } of seen) this.#saveLastSeen.run(lastSeen, toBlob(id));
  }

  get(id: Hex): Node | null {
    const row = this.#byId.get(toBlob(id)) as Row | undefined;
    return row ? fromRow(row) : null;
  }

  list(query: PageQuery & { readonly wallet?: Address; readonly status?: NodeStatus }): Page<Node> {
    const conditions: Condition[] = [];
    if (query.wallet !== undefined) conditions.push(["wallet_address = ?", query.wallet]);
    if (query.status !== undefined) conditions.push(["status = ?", query.status]);
    if (query.cursor !== undefined) conditions.push(["_id > ?", toBlob(readCursor(query.cursor, isId))]);
    return toPage(this.#list.all(conditions, query.limit + 1), query.limit, fromRow, (row) => fromBlob(row._id));
  }

  standing(nodeId: Hex, wallet: Address): Standing | null {
    const row = this.#standing.get(toBlob(nodeId), wallet) as Pick<Standing, "cap" | "valid" | "faults"> | undefined;
    return row ? { nodeId, wallet, ...row } : null;
  }

  saveStandings(standings: readonly Standing[]): void {
    for (const { nodeId, wallet, cap, valid, faults } of standings) {
      this.#saveStanding.run(toBlob(nodeId), wallet, cap, valid, faults);
    }
  }
}

function fromRow(row: Row): Node {
  return {
    id: fromBlob(row._id),
    wallet: row.wallet_address,
    status: row.status,
    lastSeen: row.last_seen,
    coordinatorId: row.coordinator_id,
    hardware: JSON.parse(row.hardware),
    kinds: JSON.parse(row.kinds),
    slots: row.slots,
    version: row.version,
    confirmed: row.confirmed === 1,
    ...(row.units_per_second !== null && { unitsPerSecond: row.units_per_second }),
  };
}
