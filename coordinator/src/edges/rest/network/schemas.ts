import type { TaskKindName } from "@proof-of-compute/proto";
import { z } from "zod";
import type { CoordinatorKinds } from "../../../kinds/index.ts";
import {
  address,
  count,
  cursor,
  hex,
  type KindMembers,
  kindName,
  limit,
  page,
  time,
  units,
  walletText,
} from "../schemas.ts";

const nodeStatus = z.enum(["online", "suspect", "offline"]).meta({
  description: "suspect: heartbeats are missing, and it gets no new work; offline: its work went to other nodes",
});

/** A provider's machine. */
export const NodeView = z
  .object({
    id: hex(32, "ed25519 public key"),
    wallet: address,
    status: nodeStatus,
    lastSeen: time("When it was last heard from"),
    kinds: z.array(kindName).meta({ description: "Kinds of task that it runs" }),
    slots: count("Assignments that it can run at once, of all kinds together"),
    offers: z
      .array(
        z.object({
          kind: kindName,
          slots: count("Assignments of this kind that it can run at once"),
          unitsPerSecond: count("Compute units per second of one slot, as the node measured").optional(),
        }),
      )
      .meta({ description: "What it offers, by kind" }),
    version: z.string().meta({ description: "Version of the node's software" }),
    confirmed: z.boolean().meta({ description: "The wallet signed that this node earns for it" }),
    hardware: z
      .object({ cpuModel: z.string(), cpuCores: z.int(), memoryBytes: z.number(), platform: z.string() })
      .meta({ description: "As the node reports it; shown, never trusted" }),
    live: z
      .object({
        running: count("Assignments that it runs now"),
        freeSlots: count("Slots without an assignment"),
        cap: count("Assignments that it may hold at once, earned by its results"),
        load: z.number().meta({ description: "Load of the machine, 0 to 1, as the node reports it" }),
      })
      .optional()
      .meta({ description: "Present while its session is open at the coordinator that answers" }),
  })
  .meta({ id: "Node", description: "A provider's machine" });

/** Query of `GET /api/nodes`. */
export const NodesQuery = z.object({ limit, cursor, wallet: walletText.optional(), status: nodeStatus.optional() });
export const NodePage = page(NodeView).meta({ id: "NodePage", description: "Nodes, by id" });

/** Query of `GET /api/node/status`. */
export const NodeStatusQuery = z.object({
  wallet: walletText.optional().meta({ description: "Whose nodes; the signed-in wallet's when absent" }),
  limit,
  cursor,
});
/** The nodes of one wallet. */
export const NodeStatusView = z
  .object({
    wallet: address,
    xdcWallet: z.string().meta({ description: "The same wallet, written xdc…" }),
    nodes: z.array(NodeView),
    cursor: z.string().optional().meta({ description: "Asks for more nodes; absent when these are all" }),
  })
  .meta({ id: "NodeStatus", description: "The nodes of one wallet" });

/** How recording on the chain goes. */
export const SettlementView = z
  .object({
    state: z.enum(["off", "running", "standby", "waiting", "stopped"]).meta({
      description:
        "off: no chain is configured, receipts accumulate; standby: another coordinator records; waiting: the chain or the recorder is not ready",
    }),
    reason: z.string().optional().meta({ description: "Why it is not running" }),
    openBatches: count("Batches that are not final yet"),
    lastRecorded: z.int().optional().meta({ description: "Id of the newest final batch" }),
    recorderBalance: z.string().optional().meta({ description: "Balance of the recording wallet in wei, decimal" }),
  })
  .meta({ id: "Settlement", description: "How recording on the chain goes" });

/** The whole network in numbers. */
export const NetworkView = z
  .object({
    nodes: z.object({ online: count("Nodes online"), suspect: count("Nodes that missed heartbeats") }),
    unitsPerSecond: z.record(kindName, count("Compute units")).meta({
      description:
        "By kind: the median rate of one task that online nodes report, per second. A kind is absent while no node reports one",
    }),
    queue: z.object({ queued: count("Tasks that wait"), running: count("Tasks that run") }),
    coordinators: z
      .array(
        z.object({
          id: z.string().meta({ description: "Its name" }),
          version: z.string().meta({ description: "Version of its software" }),
          startedAt: time("When it started"),
          self: z.literal(true).optional().meta({ description: "The coordinator that answers" }),
        }),
      )
      .meta({ description: "Live coordinators, by id" }),
    tasks: z
      .record(z.enum(["queued", "running", "cancelling", "verified", "failed", "cancelled"]), count("Tasks"))
      .meta({ description: "Tasks by state; tasks that ended long ago are deleted" }),
    receipts: count("All receipts"),
    unbatchedReceipts: count("Receipts that no batch carries yet"),
    units: z.object({ verified: units("Checked"), recorded: units("Recorded by final batches") }),
    settlement: SettlementView,
  })
  .meta({ id: "Network", description: "The whole network in numbers" });

/** A kind of task as clients see it: limits and presets of its parameters stand under its name. */
export interface KindConfigView extends KindMembers {
  readonly kind: TaskKindName;
  readonly presets: readonly (KindMembers & {
    readonly name: string;
    readonly units: string;
    readonly default: boolean;
  })[];
}

function kindConfig(kinds: CoordinatorKinds): z.ZodType<KindConfigView, KindConfigView> {
  const options = Array.from(kinds, ({ name, limits, parameters }) =>
    z.object({
      kind: z.literal(name).meta({ description: "Kind of task" }),
      [name]: limits.schema.meta({ description: "Limits of its parameters" }),
      presets: z.array(
        z.object({
          name: z.string(),
          units: units("What it is worth, at most"),
          default: z.boolean().meta({ description: "Proposed first" }),
          [name]: parameters,
        }),
      ),
    }),
  );
  return z.discriminatedUnion(
    "kind",
    options as unknown as [z.ZodObject<{ kind: z.ZodLiteral<TaskKindName> }>],
  ) as unknown as z.ZodType<KindConfigView, KindConfigView>;
}

/** What a client needs to know of this network. */
export function configSchema(kinds: CoordinatorKinds) {
  return z
    .object({
      network: z.string().meta({ description: "local, apothem, xdc, or none when no chain is configured" }),
      chainId: z.int().nullable(),
      rpcUrl: z.string().nullable().meta({ description: "Public RPC to read the contract from" }),
      contractAddress: address.nullable(),
      explorerUrl: z.string().nullable(),
      grpcAddress: z.string().meta({ description: "host:port that daemons dial" }),
      version: z.string(),
      localWallet: z.boolean().meta({ description: "Browsers may create a throw-away wallet (local network only)" }),
      signIn: z
        .object({ chainId: z.int() })
        .meta({ description: "The chain id to write into the message to sign (1 when no chain is configured)" }),
      kinds: z.array(kindConfig(kinds)).meta({ description: "Kinds of task that can be submitted" }),
    })
    .meta({ id: "Config", description: "What a client needs to know of this network" });
}

export type NodeView = z.output<typeof NodeView>;
export type NetworkView = z.output<typeof NetworkView>;
export type SettlementView = z.output<typeof SettlementView>;
export type ConfigView = z.output<ReturnType<typeof configSchema>>;
