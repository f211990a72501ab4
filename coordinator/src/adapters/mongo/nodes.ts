import type { Address, Hex } from "@proof-of-compute/proto";
import type mongoose from "mongoose";
import type { Node, NodeStatus, Standing } from "../../domain/node.ts";
import type { Owner } from "../../domain/owner.ts";
import type { Page, PageQuery } from "../../ports/pages.ts";
import { ownerKey } from "../owner-key.ts";
import { isId, readCursor, toPage } from "../pages.ts";
import type { MongoConnection } from "./connection.ts";
import { upsert } from "./errors.ts";
import { aloneInBoth, Lane, roundsOf } from "./lane.ts";
import { fromNode, fromStanding, type NodeDocument, standingKey, toNode, toStanding } from "./node-documents.ts";

type Filter = mongoose.mongo.Filter<NodeDocument>;

interface NodeWrite {
  readonly node: Node;
  /** Whether to replace a document of any owner. */
  readonly joins: boolean;
}

/** Nodes that pruning reads at a time. */
const PRUNED_AT_ONCE = 1_000;

/** Nodes, and standings of pairs of node and wallet. */
export class Nodes {
  readonly #connection: Pick<MongoConnection, "trip">;
  readonly #lane = new Lane<NodeWrite, boolean>((writes) => this.#write(writes));
  readonly #standings = new Lane<readonly Standing[], void>((writes) => this.#writeStandings(writes));

  constructor(connection: Pick<MongoConnection, "trip">) {
    this.#connection = connection;
  }

  async join(node: Node): Promise<void> {
    await this.#lane.push({ node, joins: true });
  }

  save(node: Node): Promise<boolean> {
    return this.#lane.push({ node, joins: false });
  }

  saveLastSeen(owner: Owner, seen: readonly { readonly id: Hex; readonly lastSeen: number }[]): Promise<Hex[]> {
    const key = ownerKey(owner);
    return this.#lane.alone(async () => {
      if (seen.length === 0) return [];
      const updates = seen.map(({ id, lastSeen }) => ({
        updateOne: { filter: { _id: id, owner_key: key }, update: { $set: { last_seen: lastSeen } } },
      }));
      const { matchedCount } = await this.#connection.trip(({ exo_nodes }) =>
        exo_nodes.bulkWrite(updates, { ordered: false }),
      );
      if (matchedCount === seen.length) return [];
      const ids = seen.map(({ id }) => id);
      const others = await this.#connection.trip(({ exo_nodes }) =>
        exo_nodes.find({ _id: { $in: ids }, owner_key: { $ne: key } }, { projection: { _id: 1 } }).toArray(),
      );
      const lost = new Set(others.map(({ _id }) => _id));
      return ids.filter((id) => lost.has(id));
    });
  }

  release(owners: readonly Owner[]): Promise<number> {
    return this.#lane.alone(async () => {
      const left: Filter = { status: { $in: ["online", "suspect"] }, owner_key: { $nin: owners.map(ownerKey) } };
      const { modifiedCount } = await this.#connection.trip(({ exo_nodes }) =>
        exo_nodes.updateMany(left, { $set: { status: "offline" } }),
      );
      return modifiedCount;
    });
  }

  async get(id: Hex): Promise<Node | null> {
    const document = await this.#connection.trip(({ exo_nodes }) => exo_nodes.findOne({ _id: id }));
    return document && toNode(document);
  }

  async list({
    limit,
    cursor,
    wallet,
    status,
    coordinatorId,
  }: PageQuery & {
    readonly wallet?: Address;
    readonly status?: NodeStatus;
    readonly coordinatorId?: string;
  }): Promise<Page<Node>> {
    const filter: Filter = {
      ...(wallet !== undefined && { wallet_address: wallet }),
      ...(status !== undefined && { status }),
      ...(coordinatorId !== undefined && { coordinator_id: coordinatorId }),
      ...(cursor !== undefined && { _id: { $gt: readCursor(cursor, isId) } }),
    };
    const found = await this.#connection.trip(({ exo_nodes }) =>
      exo_nodes.find(filter, { sort: { _id: 1 }, limit: limit + 1 }).toArray(),
    );
    return toPage(found, limit, toNode, ({ _id }) => _id);
  }

  async counts(): Promise<Record<NodeStatus, number>> {
    const statuses: NodeStatus[] = ["online", "suspect", "offline"];
    const found = await this.#connection.trip(({ exo_nodes }) =>
      exo_nodes
        .aggregate<{ _id: NodeStatus; count: number }>([
          { $match: { status: { $in: statuses } } },
          { $group: { _id: "$status", count: { $sum: 1 } } },
        ])
        .toArray(),
    );
    const counts = { online: 0, suspect: 0, offline: 0 };
    for (const { _id, count } of found) counts[_id] = count;
    return counts;
  }

  /** Removes nodes that never earned: reads all that have been offline for long, page by page. */
  prune(before: number, limit: number): Promise<number> {
    // Later calls for standings wait too, so that this finds none of them.
    return aloneInBoth(this.#lane, this.#standings, async () => {
      let removed = 0;
      let after: Hex | undefined;
      while (removed < limit) {
        const gone: Filter = { status: "offline", last_seen: { $lt: before } };
        const page = await this.#connection.trip(({ exo_nodes }) =>
          exo_nodes
            .find(after ? { ...gone, _id: { $gt: after } } : gone, { projection: { _id: 1 }, sort: { _id: 1 } })
            .limit(PRUNED_AT_ONCE)
            .toArray(),
        );
        const ids = page.map(({ _id }) => _id);
        const useless = (await this.#neverEarned(ids)).slice(0, limit - removed);
        const { deletedCount } = await this.#connection.trip(({ exo_nodes }) =>
          exo_nodes.deleteMany({ _id: { $in: useless }, ...gone }),
        );
        removed += deletedCount;
        after = ids.at(-1);
        if (ids.length < PRUNED_AT_ONCE) break;
      }
      return removed;
    });
  }

  async standing(nodeId: Hex, wallet: Address): Promise<Standing | null> {
    const document = await this.#connection.trip(({ standings }) => standings.findOne(standingKey(nodeId, wallet)));
    return document && toStanding(document);
  }

  saveStandings(standings: readonly Standing[]): Promise<void> {
    return this.#standings.push(standings);
  }

  /** Takes a second trip if some writes failed. */
  async #write(writes: readonly NodeWrite[]): Promise<boolean[]> {
    const won = new Map<NodeWrite, boolean>();
    for (const round of roundsOf(writes, ({ node }) => node.id)) {
      const documents = round.map(({ node }) => fromNode(node));
      const replacements = documents.map((replacement, index) => {
        const { _id, owner_key } = replacement;
        const filter = round[index]!.joins ? { _id } : { _id, owner_key };
        return { replaceOne: { filter, replacement: withoutId(replacement), upsert: round[index]!.joins } };
      });
      const { matchedCount, upsertedCount } = await upsert(() =>
        this.#connection.trip(({ exo_nodes }) => exo_nodes.bulkWrite(replacements, { ordered: false })),
      );
      const owners = matchedCount + upsertedCount < round.length ? await this.#ownersOf(round) : undefined;
      round.forEach((write, index) => {
        const { _id, owner_key } = documents[index]!;
        won.set(write, write.joins || !owners || owners.get(_id) === owner_key);
      });
    }
    return writes.map((write) => won.get(write)!);
  }

  async #ownersOf(round: readonly NodeWrite[]): Promise<Map<Hex, string>> {
    const ids = round.map(({ node }) => node.id);
    const found = await this.#connection.trip(({ exo_nodes }) =>
      exo_nodes.find({ _id: { $in: ids } }, { projection: { owner_key: 1 } }).toArray(),
    );
    return new Map(found.map(({ _id, owner_key }) => [_id, owner_key]));
  }

  async #neverEarned(ids: readonly Hex[]): Promise<Hex[]> {
    if (ids.length === 0) return [];
    const earners = await this.#connection.trip(({ standings }) =>
      standings.find({ node_id: { $in: [...ids] }, valid: { $gt: 0 } }, { projection: { node_id: 1 } }).toArray(),
    );
    const earned = new Set(earners.map(({ node_id }) => node_id));
    return ids.filter((id) => !earned.has(id));
  }

  async #writeStandings(writes: readonly (readonly Standing[])[]): Promise<undefined[]> {
    const last = new Map(writes.flat().map((standing) => [fromStanding(standing)._id, fromStanding(standing)]));
    const replacements = [...last.values()].map((replacement) => {
      const { _id, node_id } = replacement;
      return { replaceOne: { filter: { _id, node_id }, replacement: withoutId(replacement), upsert: true } };
    });
    if (replacements.length > 0) {
      await upsert(() =>
        this.#connection.trip(({ standings }) => standings.bulkWrite(replacements, { ordered: false })),
      );
    }
    return writes.map(() => undefined);
  }
}

function withoutId<Document extends { readonly _id: unknown }>({ _id, ...rest }: Document): Omit<Document, "_id"> {
  return rest;
}
