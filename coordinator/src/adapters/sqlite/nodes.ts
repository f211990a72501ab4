import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Address, Hex } from "@proof-of-compute/proto";
import type { Node, NodeStatus, Standing } from "../../domain/node.ts";
import type { Owner } from "../../domain/owner.ts";
import type { Page, PageQuery } from "../../ports/pages.ts";
import { offersBefore } from "../node-offers.ts";
import { ownerKey } from "../owner-key.ts";
import { isId, readCursor, toPage } from "../pages.ts";
import { fromBlob, toBlob } from "./codec.ts";
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
  readonly offers: string | null;
  readonly incarnation: Hex;
}

/** In the order of {@link columnsOf}. */
const COLUMNS = "wallet_address, status, last_seen, hardware, kinds, slots, offers, version, confirmed";
const IS_OWNED = "_id = ? AND coordinator_id = ? AND incarnation = ?";

/** Nodes, and standings of pairs of node and wallet. */
export class Nodes {
  readonly #join: StatementSync;
  readonly #save: StatementSync;
  readonly #saveLastSeen: StatementSync;
  readonly #isKnown: StatementSync;
  readonly #release: StatementSync;
  readonly #counts: StatementSync;
  readonly #prune: StatementSync;
  readonly #byId: StatementSync;
  readonly #standing: StatementSync;
  readonly #saveStanding: StatementSync;
  readonly #list: ListQuery<Row>;

  constructor(database: DatabaseSync) {
    this.#join = database.prepare(`INSERT OR REPLACE INTO exo_nodes (${COLUMNS}, _id, coordinator_id, incarnation)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#save = database.prepare(`UPDATE exo_nodes SET (${COLUMNS}) = (?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE ${IS_OWNED}`);
    this.#saveLastSeen = database.prepare(`UPDATE exo_nodes SET last_seen = ? WHERE ${IS_OWNED}`);
    this.#isKnown = database.prepare("SELECT 1 FROM exo_nodes WHERE _id = ?");
    this.#release = database.prepare(
      `UPDATE exo_nodes SET status = 'offline' WHERE status IN ('online', 'suspect')
       AND incarnation || ' ' || coordinator_id NOT IN (SELECT value FROM json_each(?))`,
    );
    this.#counts = database.prepare("SELECT status, count(*) AS count FROM exo_nodes GROUP BY status");
    this.#prune = database.prepare(
      `DELETE FROM exo_nodes WHERE _id IN (
         SELECT _id FROM exo_nodes WHERE status = 'offline' AND last_seen < ?
         AND NOT EXISTS (SELECT 1 FROM standings WHERE node_id = exo_nodes._id AND valid > 0) LIMIT ?
       )`,
    );
    this.#byId = database.prepare("SELECT * FROM exo_nodes WHERE _id = ?");
    this.#standing = database.prepare(
      "SELECT cap, valid, faults FROM standings WHERE node_id = ? AND wallet_address = ?",
    );
    this.#saveStanding = database.prepare("INSERT OR REPLACE INTO standings VALUES (?, ?, ?, ?, ?)");
    this.#list = new ListQuery(database, "SELECT * FROM exo_nodes", "_id");
  }

  join(node: Node): void {
    this.#join.run(...columnsOf(node), ...ownedBy(node.owner, node.id));
  }

  save(node: Node): boolean {
    return this.#save.run(...columnsOf(node), ...ownedBy(node.owner, node.id)).changes === 1;
  }

  saveLastSeen(owner: Owner, seen: readonly { readonly id: Hex; readonly lastSeen: number }[]): Hex[] {
    const missed = seen.filter(
      ({ id, lastSeen }) => this.#saveLastSeen.run(lastSeen, ...ownedBy(owner, id)).changes === 0,
    );
    return missed.map(({ id }) => id).filter((id) => this.#isKnown.get(toBlob(id)) !== undefined);
  }

  release(owners: readonly Owner[]): number {
    return Number(this.#release.run(JSON.stringify(owners.map(ownerKey))).changes);
  }

  counts(): Record<NodeStatus, number> {
    const rows = this.#counts.all() as { status: NodeStatus; count: number }[];
    const counted = Object.fromEntries(rows.map(({ status, count }) => [status, count]));
    return { online: 0, suspect: 0, offline: 0, ...counted };
  }

  prune(before: number, limit: number): number {
    return Number(this.#prune.run(before, limit).changes);
  }

  get(id: Hex): Node | null {
    const row = this.#byId.get(toBlob(id)) as Row | undefined;
    return row ? fromRow(row) : null;
  }

  list(
    query: PageQuery & { readonly wallet?: Address; readonly status?: NodeStatus; readonly coordinatorId?: string },
  ): Page<Node> {
    const conditions: Condition[] = [];
    if (query.coordinatorId !== undefined) conditions.push(["coordinator_id = ?", query.coordinatorId]);
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

function columnsOf(node: Node) {
  return [
    node.wallet,
    node.status,
    node.lastSeen,
    JSON.stringify(node.hardware),
    JSON.stringify(node.offers.map(({ kind }) => kind)),
    node.slots,
    JSON.stringify(node.offers),
    node.version,
    Number(node.confirmed),
  ];
}

/** The values of {@link IS_OWNED}. */
function ownedBy({ coordinatorId, incarnation }: Owner, id: Hex) {
  return [toBlob(id), coordinatorId, incarnation];
}

function fromRow(row: Row): Node {
  return {
    id: fromBlob(row._id),
    wallet: row.wallet_address,
    status: row.status,
    lastSeen: row.last_seen,
    owner: { coordinatorId: row.coordinator_id, incarnation: row.incarnation },
    hardware: JSON.parse(row.hardware),
    slots: row.slots,
    offers: row.offers === null ? offersBefore(JSON.parse(row.kinds), row) : JSON.parse(row.offers),
    version: row.version,
    confirmed: row.confirmed === 1,
  };
}
