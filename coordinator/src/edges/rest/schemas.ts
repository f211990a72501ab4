import { type Address, type Hex, TASK_KINDS, type TaskKindName } from "@proof-of-compute/proto";
import { z } from "zod";

/**
 * Every request and response of the REST facade. The routes validate and serialize with these, and
 * `docs/reference/openapi.json` and the hub's typed client are generated from them: there is no second description of the API.
 *
 * Times are milliseconds since 1970 on the coordinator's clock, units are decimal strings (they pass 2^53), identifiers
 * and digests are lower-case `0x` hex.
 */

/** Bounds of matmul requests; the same as MATMUL_LIMITS of the proto, said in JSON Schema. */
const MATMUL = { nMin: 64, nMax: 4096, nStep: 64, kMin: 2, kMax: 64 } as const;

/** Shortest and longest time that a requester may give a task, in seconds. */
const DEADLINE_SECONDS = { min: 10, max: 7 * 86_400 } as const;

/** The task that the hub's button asks for: large enough to be felt, done within seconds on one core. */
export const SHOWCASE = { n: 1024, k: 5 } as const;

/** Sizes that the hub offers. */
export const PRESETS = [
  { name: "small", n: 256, k: 4 },
  { name: "showcase", ...SHOWCASE },
  { name: "large", n: 2048, k: 9 },
  { name: "huge", n: 4096, k: 17 },
] as const;

function hex(bytes: number, description: string): z.ZodType<Hex, Hex> {
  const digits = new RegExp(`^0x[0-9a-f]{${bytes * 2}}$`);
  // The pattern makes it Hex; zod has no way to say so to the compiler.
  return z.string().regex(digits).meta({ description }) as unknown as z.ZodType<Hex, Hex>;
}

const time = (description: string) =>
  z
    .int()
    .nonnegative()
    .meta({ description: `${description} (ms since 1970, coordinator's clock)` });
const units = (description: string) =>
  z
    .string()
    .regex(/^[0-9]+$/)
    .meta({ description: `${description} (compute units, decimal)` });
const count = (description: string) => z.int().nonnegative().meta({ description });

const address = z
  .string()
  .regex(/^0x[0-9a-fA-F]{40}$/)
  .meta({ description: "EVM address with EIP-55 casing" }) as unknown as z.ZodType<Address, Address>;

/** A wallet as people write it; `parseAddress` reads it, so that the error can say what is wrong with it. */
const walletText = z
  .string()
  .min(1)
  .max(64)
  .meta({ description: "A wallet address, `0x…` or `xdc…`; its EIP-55 checksum is checked when it is mixed case" });

const cursor = z
  .string()
  .max(512)
  .optional()
  .meta({ description: "The `cursor` of the page before; absent for the first page" });
const limit = z.coerce.number().int().min(1).max(100).default(20).meta({ description: "How many items at most" });

/** Query of a list. */
export const PageQuery = z.object({ limit, cursor });

function page<T extends z.ZodType>(item: T) {
  return z.object({
    items: z.array(item),
    cursor: z.string().optional().meta({ description: "Asks for the next page; absent on the last" }),
  });
}

const kind = z.enum(Object.keys(TASK_KINDS) as [TaskKindName]).meta({ description: "Kind of task" });
const assurance = z
  .enum(["proven", "replicated", "attested"])
  .meta({ description: "Why the result can be believed; see docs/reference/verification.md" });

/* ---- Problems ------------------------------------------------------------------------------------------------- */

/** RFC 9457 problem document: the body of every error. */
export const Problem = z
  .object({
    type: z.string().meta({ description: "Where the code is explained" }),
    title: z.string().meta({ description: "What the code means, the same for every occurrence" }),
    status: z.int(),
    detail: z.string().meta({ description: "What went wrong this time" }),
    code: z.string().meta({ description: "Stable, one of docs/reference/errors.md" }),
    instance: z.string().meta({ description: "The request's id, also in x-request-id and in the coordinator's log" }),
  })
  .meta({ id: "Problem", description: "An error (RFC 9457)" });

/* ---- Tasks ---------------------------------------------------------------------------------------------------- */

/** Body of `POST /api/node/dispatch-task`. */
export const DispatchRequest = z
  .strictObject({
    kind: z.literal("matmul").default("matmul").meta({ description: "Kind of task" }),
    n: z
      .int()
      .min(MATMUL.nMin)
      .max(MATMUL.nMax)
      .multipleOf(MATMUL.nStep)
      .default(SHOWCASE.n)
      .meta({ description: "Rows and columns of the matrices" }),
    k: z.int().min(MATMUL.kMin).max(MATMUL.kMax).default(SHOWCASE.k).meta({ description: "Number of factors" }),
    deadlineSeconds: z
      .int()
      .min(DEADLINE_SECONDS.min)
      .max(DEADLINE_SECONDS.max)
      .optional()
      .meta({ description: "The task ends unfinished when it is not verified by then; default: TASK_DEADLINE" }),
  })
  .meta({ id: "DispatchRequest", description: "What to compute: the product of k matrices of n x n over F_251" });

/** Headers of `POST /api/node/dispatch-task`. */
export const DispatchHeaders = z.object({
  "idempotency-key": z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/)
    .optional()
    .meta({ description: "1 to 255 visible ASCII characters; the same key and body give the same task again" }),
});

/** States of a task as people see them: the task's own and, once verified, how far its receipt has come. */
export const TaskViewState = z
  .enum(["queued", "running", "cancelling", "verified", "batched", "recorded", "failed", "cancelled"])
  .meta({
    description:
      "queued: waits for a node; running: a node computes; cancelling: the node is told to stop; verified: the result " +
      "was checked; batched: its receipt is in a batch on its way to the chain; recorded: the chain holds it, final; " +
      "failed and cancelled: final",
  });

/** One attempt at a task by one node. */
export const AssignmentView = z
  .object({
    id: hex(16, "Assignment id, also the receipt's id when it was accepted"),
    nodeId: hex(32, "ed25519 public key of the node"),
    wallet: address,
    state: z.enum(["live", "accepted", "rejected", "failed", "declined", "lost", "cancelled"]),
    assignedAt: time("When the node got it"),
    endedAt: time("When it ended").optional(),
    reason: z.string().optional().meta({ description: "Why it ended so" }),
  })
  .meta({ id: "Assignment", description: "One attempt at a task by one node" });

const transaction = hex(32, "Hash of the transaction that recorded it, as far as known").optional();
const block = z.int().optional().meta({ description: "Number of that transaction's block, as far as known" });
const explorerUrl = z.string().optional().meta({ description: "That transaction in the explorer" });
const batchState = z.enum(["closed", "included", "recorded"]).meta({
  description: "closed: stored; included: the chain's head holds it; recorded: a final block holds it",
});

/** One requested computation. */
export const TaskView = z
  .object({
    id: hex(16, "Task id"),
    kind,
    n: z.int().meta({ description: "Rows and columns" }),
    k: z.int().meta({ description: "Number of factors" }),
    state: TaskViewState,
    waitingReason: z.string().optional().meta({ description: "Why a queued task waits" }),
    progress: z.number().min(0).max(1).optional().meta({ description: "How far the running assignment has come" }),
    requester: address,
    units: units("What its receipt is worth"),
    createdAt: time("When it was submitted"),
    deadline: time("When it ends unfinished"),
    attempts: count("Nodes on which the task itself failed"),
    assignments: z.array(AssignmentView).meta({ description: "In the order in which they were made" }),
    specDigest: hex(32, "SHA-256 of the serialized TaskSpec"),
    resultDigest: hex(32, "SHA-256 of the result").optional(),
    receiptId: hex(16, "Receipt of the accepted assignment").optional(),
    verifiedAt: time("When its result was accepted").optional(),
    check: z
      .object({
        method: z.literal("freivalds"),
        errorBound: z.literal("2^-112").meta({ description: "Probability at most that a wrong result passes" }),
      })
      .optional()
      .meta({ description: "How the result was checked" }),
    batch: z
      .object({ id: z.int(), state: batchState, transaction, block, explorerUrl })
      .optional()
      .meta({ description: "The batch that carries its receipt to the chain" }),
    error: z.object({ code: z.string(), detail: z.string() }).optional().meta({ description: "Why it ended without" }),
  })
  .meta({ id: "Task", description: "One requested computation" });

/** Path of one task. */
export const TaskParams = z.object({ id: hex(16, "Task id") });
/** Query of `GET /api/tasks`. */
export const TasksQuery = z.object({ limit, cursor });
export const TaskPage = page(TaskView).meta({ id: "TaskPage", description: "Tasks, newest first" });

/* ---- Nodes ---------------------------------------------------------------------------------------------------- */

const nodeStatus = z
  .enum(["online", "suspect", "offline"])
  .meta({ description: "suspect: heartbeats are missing, it gets no new work; offline: its work was given to others" });

/** A provider's machine. */
export const NodeView = z
  .object({
    id: hex(32, "ed25519 public key"),
    wallet: address,
    status: nodeStatus,
    lastSeen: time("When it was last heard"),
    kinds: z.array(kind).meta({ description: "Kinds of task that it runs" }),
    slots: count("Assignments that it can run at once"),
    unitsPerSecond: count("Compute units that a slot computes in a second, as the node measured itself").optional(),
    version: z.string().meta({ description: "Version of the node's software" }),
    confirmed: z.boolean().meta({ description: "The wallet signed that this node may earn for it" }),
    hardware: z
      .object({ cpuModel: z.string(), cpuCores: z.int(), memoryBytes: z.number(), platform: z.string() })
      .meta({ description: "As the node says; shown, never trusted" }),
    live: z
      .object({
        running: count("Assignments that it runs now"),
        freeSlots: count("Slots without an assignment"),
        cap: count("Assignments that it may hold at once, as earned by its results"),
        load: z.number().meta({ description: "Load of the machine, 0 to 1, as the node says" }),
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

/* ---- Receipts and batches ------------------------------------------------------------------------------------- */

/** One checked result of one node: what is credited, once. */
export const ReceiptView = z
  .object({
    receiptId: hex(16, "The assignment id"),
    taskId: hex(16, "Task id"),
    nodeId: hex(32, "ed25519 public key of the node"),
    provider: address,
    requester: address,
    kind,
    assurance,
    specDigest: hex(32, "SHA-256 of the serialized TaskSpec"),
    resultDigest: hex(32, "SHA-256 of the result"),
    units: units("What is credited"),
    acceptedAt: time("When the result was accepted"),
    batchId: z.int().optional().meta({ description: "The batch that carries it; absent until one does" }),
    signature: z
      .object({
        signature: hex(64, 'ed25519 over "proof-of-compute/results/v1" || root of the frame'),
        index: count("Position of the result in its frame"),
        size: count("Results in the frame"),
        path: z.array(hex(32, "RFC 6962 audit path, nearest sibling first")),
      })
      .meta({ description: "The node's signature, and the way from the result to what was signed" }),
  })
  .meta({ id: "Receipt", description: "One checked result of one node" });

export const ReceiptParams = z.object({ id: hex(16, "Receipt id") });
/** Query of `GET /api/receipts`. */
export const ReceiptsQuery = z.object({ limit, cursor, provider: walletText.optional() });
/** Query of `GET /api/receipts/export`. */
export const ExportQuery = z.object({ provider: walletText });
export const ReceiptPage = page(ReceiptView).meta({ id: "ReceiptPage", description: "Receipts, oldest first" });

const batchShape = {
  id: z.int().meta({ description: "The contract's batch id, from 1" }),
  root: hex(32, "Root of the StandardMerkleTree over its receipts' leaves"),
  state: batchState,
  units: units("Sum of its credits"),
  providers: count("Wallets that it credits"),
  closedAt: time("When it was closed"),
  transaction,
  block,
  explorerUrl,
};
/** Receipts that go to the chain together. */
export const BatchSummary = z.object(batchShape).meta({ id: "BatchSummary", description: "A batch in a list" });
export const BatchView = z
  .object({
    ...batchShape,
    receipts: count("How many receipts it carries; GET …/receipts has them"),
    credits: z.array(z.object({ provider: address, units: units("What it adds to the wallet") })),
  })
  .meta({ id: "Batch", description: "A batch" });
export const BatchParams = z.object({ id: z.coerce.number().int().positive().meta({ description: "Batch id" }) });
export const BatchPage = page(BatchSummary).meta({ id: "BatchPage", description: "Batches, newest first" });

/* ---- The network ---------------------------------------------------------------------------------------------- */

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
    unitsPerSecond: count("Compute units a second of one task on an online node: their median, as they say").nullable(),
    queue: z.object({ queued: count("Tasks that wait"), running: count("Tasks that run") }),
    coordinators: z
      .array(
        z.object({
          id: z.string().meta({ description: "Its name" }),
          version: z.string().meta({ description: "Version of its software" }),
          startedAt: time("When it started"),
          self: z.literal(true).optional().meta({ description: "The one that answers" }),
        }),
      )
      .meta({ description: "The coordinators that live, by id" }),
    tasks: z
      .record(z.enum(["queued", "running", "cancelling", "verified", "failed", "cancelled"]), count("Tasks"))
      .meta({ description: "Tasks by state; those that ended long ago are forgotten" }),
    receipts: count("Receipts altogether"),
    unbatchedReceipts: count("Receipts that no batch carries yet"),
    units: z.object({ verified: units("Checked"), recorded: units("Recorded by final batches") }),
    settlement: SettlementView,
  })
  .meta({ id: "Network", description: "The whole network in numbers" });

/** What a client needs to know of this network. */
export const ConfigView = z
  .object({
    network: z.string().meta({ description: "local, apothem, xdc, or none when no chain is configured" }),
    chainId: z.int().nullable(),
    rpcUrl: z.string().nullable().meta({ description: "Public RPC to read the contract from" }),
    contractAddress: address.nullable(),
    explorerUrl: z.string().nullable(),
    grpcAddress: z.string().meta({ description: "host:port that daemons dial" }),
    version: z.string(),
    localWallet: z.boolean().meta({ description: "Browsers may make a throw-away wallet here (local network only)" }),
    signIn: z
      .object({ chainId: z.int() })
      .meta({ description: "The chain id to write into the message to sign (1 when no chain is configured)" }),
    kinds: z.array(
      z.object({
        kind: z.literal("matmul"),
        n: z.object({ min: z.int(), max: z.int(), step: z.int() }),
        k: z.object({ min: z.int(), max: z.int() }),
        presets: z.array(
          z.object({
            name: z.enum(["small", "showcase", "large", "huge"]),
            n: z.int(),
            k: z.int(),
            units: units("What it is worth"),
            default: z.boolean().meta({ description: "What dispatch takes when the body says nothing" }),
          }),
        ),
      }),
    ),
  })
  .meta({ id: "Config", description: "What a client needs to know of this network" });

/* ---- Sign-in -------------------------------------------------------------------------------------------------- */

/** A nonce for one sign-in of the browser that asked. */
export const NonceView = z
  .object({ nonce: z.string(), expiresAt: time("When it is no longer taken") })
  .meta({ id: "Nonce", description: "A nonce for one sign-in" });

/** Body of `POST /api/auth/sign-in`. */
export const SignInRequest = z
  .strictObject({
    message: z.string().min(1).max(4096).meta({ description: "EIP-4361 text; its domain and URI are this site's" }),
    signature: z
      .string()
      .regex(/^0x[0-9a-fA-F]{130}$/)
      .meta({ description: "EIP-191 signature of the message by the wallet's key (65 bytes)" }),
  })
  .meta({ id: "SignInRequest", description: "Sign-In with Ethereum" });

/** An open session. */
export const SessionView = z
  .object({
    wallet: address,
    xdcWallet: z.string().meta({ description: "The same wallet, written xdc…" }),
    expiresAt: time("When the session ends"),
  })
  .meta({ id: "Session", description: "Who is signed in" });
/** Answer of `GET /api/auth/session`. */
export const CurrentSession = z
  .object({ session: SessionView.nullable() })
  .meta({ id: "CurrentSession", description: "Who is signed in, or null" });

/* ---- Health --------------------------------------------------------------------------------------------------- */

export const HealthView = z.object({ status: z.literal("ok"), version: z.string() }).meta({ id: "Health" });
/** Whether the coordinator can take work; `reasons` also says what is merely limited. */
export const ReadinessView = z
  .object({
    ready: z.boolean(),
    reasons: z.array(z.string()).meta({ description: "Why it is not ready, or what it does without" }),
    settlement: SettlementView,
  })
  .meta({ id: "Readiness" });

/* ---- Bodies that are not JSON ---------------------------------------------------------------------------------- */

const text = (contentType: string, description: string) => ({
  description,
  content: { [contentType]: { schema: z.any().meta({ type: "string", description }) } },
});

/** Response of `GET /api/tasks/:id/result` and `GET /api/receipts/:id/result`. */
export const OctetStream = {
  description: "The result's bytes",
  content: { "application/octet-stream": { schema: z.any().meta({ type: "string", format: "binary" }) } },
};
/** Response of `GET /api/tasks/:id/events`. */
export const SseStream = text("text/event-stream", "Events whose id changes with the state and whose data is a Task");
/** Response of `GET /api/batches/:id/receipts` and `GET /api/receipts/export`. */
export const JsonLines = text("application/jsonl", "One JSON document a line");
/** Path of `GET /problems/:code`. */
export const ProblemParams = z.object({ code: z.string().max(64).meta({ description: "Code of a problem" }) });
export const ProblemText = text("text/plain", "What the code means");
/** Response of `GET /metrics`. */
export const MetricsText = text("text/plain", "Prometheus text format");

export type SessionView = z.output<typeof SessionView>;
export type TaskView = z.output<typeof TaskView>;
export type NodeView = z.output<typeof NodeView>;
export type ReceiptView = z.output<typeof ReceiptView>;
export type BatchView = z.output<typeof BatchView>;
export type BatchSummary = z.output<typeof BatchSummary>;
export type SettlementView = z.output<typeof SettlementView>;
export type ConfigView = z.output<typeof ConfigView>;
export type Problem = z.output<typeof Problem>;
export type DispatchRequest = z.output<typeof DispatchRequest>;
