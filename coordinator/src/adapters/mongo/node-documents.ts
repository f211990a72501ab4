import type { Address, Hex, TaskKindName } from "@proof-of-compute/proto";
import type { Hardware, KindOffer, Node, NodeStatus, Standing } from "../../domain/node.ts";
import { offersBefore } from "../node-offers.ts";
import { ownerKey } from "../owner-key.ts";
import { MIXED, schemaOf } from "./schema.ts";

interface OfferDocument {
  readonly kind: TaskKindName;
  readonly slots: number;
  readonly units_per_second?: number;
}

export interface NodeDocument {
  readonly _id: Hex;
  readonly wallet_address: Address;
  readonly status: NodeStatus;
  readonly last_seen: number;
  readonly coordinator_id: string;
  readonly incarnation: Hex;
  /** {@link ownerKey} of these two. */
  readonly owner_key: string;
  readonly hardware: Hardware;
  readonly kinds: readonly TaskKindName[];
  readonly slots: number;
  /** Absent in documents of the previous version, which have one rate for all kinds in `units_per_second`. */
  readonly offers?: readonly OfferDocument[];
  readonly units_per_second?: number;
  readonly version: string;
  readonly confirmed: boolean;
}

export const nodeSchema = schemaOf<NodeDocument>({
  _id: String,
  wallet_address: String,
  status: String,
  last_seen: Number,
  coordinator_id: String,
  incarnation: String,
  owner_key: String,
  hardware: MIXED,
  kinds: [String],
  slots: Number,
  offers: MIXED,
  units_per_second: Number,
  version: String,
  confirmed: Boolean,
})
  .index({ wallet_address: 1, _id: 1 }, { name: "by_wallet" })
  .index({ status: 1, _id: 1 }, { name: "by_status" })
  .index({ coordinator_id: 1, _id: 1 }, { name: "by_coordinator" })
  .index({ status: 1, owner_key: 1 }, { name: "by_owner" });

export function fromNode(node: Node): NodeDocument {
  return {
    _id: node.id,
    wallet_address: node.wallet,
    status: node.status,
    last_seen: node.lastSeen,
    coordinator_id: node.owner.coordinatorId,
    incarnation: node.owner.incarnation,
    owner_key: ownerKey(node.owner),
    hardware: node.hardware,
    kinds: node.offers.map(({ kind }) => kind),
    slots: node.slots,
    offers: node.offers.map(({ kind, slots, unitsPerSecond }) => ({
      kind,
      slots,
      ...(unitsPerSecond !== undefined && { units_per_second: unitsPerSecond }),
    })),
    version: node.version,
    confirmed: node.confirmed,
  };
}

export function toNode(document: NodeDocument): Node {
  return {
    id: document._id,
    wallet: document.wallet_address,
    status: document.status,
    lastSeen: document.last_seen,
    owner: { coordinatorId: document.coordinator_id, incarnation: document.incarnation },
    hardware: document.hardware,
    slots: document.slots,
    offers: document.offers?.map(toOffer) ?? offersBefore(document.kinds, document),
    version: document.version,
    confirmed: document.confirmed,
  };
}

function toOffer({ kind, slots, units_per_second }: OfferDocument): KindOffer {
  return { kind, slots, ...(units_per_second !== undefined && { unitsPerSecond: units_per_second }) };
}

export interface StandingDocument {
  /** Node and wallet: `node/wallet`. */
  readonly _id: string;
  readonly node_id: Hex;
  readonly wallet_address: Address;
  readonly cap: number;
  readonly valid: number;
  readonly faults: number;
}

export const standingSchema = schemaOf<StandingDocument>(
  { _id: String, node_id: String, wallet_address: String, cap: Number, valid: Number, faults: Number },
  { node_id: "hashed" },
).index({ node_id: 1, valid: 1 }, { name: "by_node" });

/** Selects the document of a pair; it contains the shard key. */
export function standingKey(nodeId: Hex, wallet: Address): Pick<StandingDocument, "_id" | "node_id"> {
  return { _id: `${nodeId}/${wallet}`, node_id: nodeId };
}

export function fromStanding({ nodeId, wallet, cap, valid, faults }: Standing): StandingDocument {
  return { ...standingKey(nodeId, wallet), wallet_address: wallet, cap, valid, faults };
}

export function toStanding({ node_id, wallet_address, cap, valid, faults }: StandingDocument): Standing {
  return { nodeId: node_id, wallet: wallet_address, cap, valid, faults };
}
